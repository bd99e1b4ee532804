"""Scheme, host and port of a route where its labels do not say (LABELS II.6.3, decisions 17 and 20)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.routes.defaults import ALIASES, IMAGES, PREFERRED_PORTS
from pilotage.routes.ports import PortPair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.containers.container import Container
    from pilotage.engine.types import Port
    from pilotage.routes.schema import RouteSettings

__all__ = ["Reasons", "Target", "resolve_static_target", "resolve_target"]

_HTTP: Final = 80
_HTTPS: Final = 443
_WRITTEN: Final = "set by the file"
_PREFERRED: Final = f"first of {', '.join(map(str, PREFERRED_PORTS))} that is exposed"
_THOUSAND: Final = 1000


class Target(msgspec.Struct, frozen=True, gc=False):
    """Where a route leads."""

    scheme: str
    host: str
    port: PortPair


class Reasons(msgspec.Struct):
    """Why a target is what it is: sentences for people, filled in only when asked for."""

    scheme: str = ""
    host: str = ""
    port: str = ""


def resolve_target(alias: str, container: Container, asked: RouteSettings, why: Reasons | None = None) -> Target:
    """Work out a route's target.

    Args:
        alias: the route's alias, lower-cased.
        container: where it comes from.
        asked: what its labels ask for.
        why: filled with the reasons when given.

    """
    if asked.scheme == "fileserver":
        return _file_server(asked, why)
    host, host_why = _host(container, asked)
    scheme, port = asked.scheme, asked.port.proxy
    scheme_why = port_why = "set by a label"
    for table, key, name in ((IMAGES, container.image.name, "image"), (ALIASES, alias, "alias")):
        known = table.get(key)
        if known is not None:
            if not scheme:
                scheme, scheme_why = known[0], f"known for the {name} {key}"
            if not port:
                port, port_why = known[1], f"known for the {name} {key}"
    if not port:
        ports = container.public_port_mapping if container.is_host_network_mode else container.private_port_mapping
        port, port_why = preferred_port(ports)
    published = container.public_port_mapping
    if not scheme and published and any(e.PrivatePort == port and e.Type == "udp" for e in published.values()):
        scheme, scheme_why = "udp", f"port {port} is published for UDP"
    translated, how = _translate(port, host, container)
    if how:
        port, port_why = translated, f"{port_why}; {how}"
    if not scheme:
        scheme, scheme_why = _scheme_by_port(asked.port.listening, port)
    if why is not None:
        why.scheme, why.host, why.port = scheme_why, host_why, port_why
    return Target(scheme, host, PortPair(asked.port.listening, port))


def _scheme_by_port(listening: int, port: int) -> tuple[str, str]:
    if listening:
        return "tcp", "a listening port is given"
    if port % _THOUSAND == _HTTPS:
        return "https", f"port {port} ends in 443"
    return "http", "nothing says otherwise"


def _file_server(asked: RouteSettings, why: Reasons | None) -> Target:
    """Return the target of a route that serves a folder: none (LABELS II.6.6)."""
    if why is not None:
        why.scheme, why.host, why.port = "set by a label", "a file server has no target", "a file server has no target"
    return Target("fileserver", "", PortPair(asked.port.listening, 0))


def resolve_static_target(alias: str, asked: RouteSettings, why: Reasons | None = None) -> Target:
    """Work out the target of a route without a container: this host, and its scheme's usual port (LABELS II.6.3).

    Args:
        alias: the route's alias, lower-cased.
        asked: what is written for it.
        why: filled with the reasons when given.

    """
    scheme, port = asked.scheme, asked.port.proxy
    scheme_why = port_why = _WRITTEN
    if alias in ALIASES:
        known = ALIASES[alias]
        if not scheme:
            scheme, scheme_why = known[0], f"known for the alias {alias}"
        if not port:
            port, port_why = known[1], f"known for the alias {alias}"
    if not scheme:
        if asked.port.listening:
            scheme, scheme_why = "tcp", "a listening port is given"
        elif port % _THOUSAND == _HTTPS:
            scheme, scheme_why = "https", f"port {port} ends in 443"
        else:
            scheme, scheme_why = "http", "nothing says otherwise"
    if not port:
        port, port_why = (_HTTPS if scheme == "https" else _HTTP), f"usual for {scheme}"
    if why is not None:
        why.scheme, why.port = scheme_why, port_why
        why.host = _WRITTEN if asked.host else "this host, for none is written"
    return Target(scheme, asked.host or "localhost", PortPair(asked.port.listening, port))


def _host(container: Container, asked: RouteSettings) -> tuple[str, str]:
    if asked.host:
        return asked.host, "set by a label"
    if container.private_hostname:
        return container.private_hostname, "the container's address"
    if container.public_hostname:
        return (
            container.public_hostname,
            "the engine's host, for the container's own address cannot be reached from here",
        )
    return "", "not known while the container does not run"


def preferred_port(ports: Mapping[int, Port]) -> tuple[int, str]:
    """Choose among ports: the usual ones in their order, else the lowest; 0 when there is none."""
    if not ports:
        return 0, "no port is exposed"
    for port in PREFERRED_PORTS:
        if port in ports:
            return port, "the only port" if len(ports) == 1 else _PREFERRED
    chosen = min(ports, key=lambda port: ports[port].PrivatePort)
    return chosen, "the only port" if len(ports) == 1 else "the lowest that is exposed"


def _unlisted(port: int, container: Container) -> tuple[int, str]:
    """Return a port at the engine's host that is none of the container's, which somebody else may have.

    One whose network is another container's has only the ports which that one publishes: were that one gone, the port
    would lead to whatever listens there on the host.
    """
    if container.network_mode.startswith("container:") and port not in container.public_port_mapping:
        return 0, f"the container whose network it shares does not publish {port}"
    return port, ""


def _translate(port: int, host: str, container: Container) -> tuple[int, str]:
    """Return the port to use at a host, and how it came about where it is another (decision 17).

    At the engine's host a container's port is found where it is published, nowhere (0) if it is not. At the container's
    own address a published number that is none of its ports stands for the port behind it.
    """
    if not port or not host:
        return port, ""
    private = container.private_port_mapping
    if host == container.public_hostname and host != container.private_hostname:
        entry = private.get(port)
        if entry is None:
            return _unlisted(port, container)
        if entry.PublicPort == port:
            return port, ""
        if entry.PublicPort:
            return entry.PublicPort, f"container port {port} is published as {entry.PublicPort}"
        return 0, f"container port {port} is not published"
    if host == container.private_hostname and port not in private:
        entry = container.public_port_mapping.get(port)
        if entry is not None:
            return entry.PrivatePort, f"{port} is where the host publishes container port {entry.PrivatePort}"
    return port, ""
