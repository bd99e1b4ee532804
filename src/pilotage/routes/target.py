"""Determines a route's target: scheme, host and port. Infers the values that labels do not set. Pure.

Rules: LABELS II.6.3, decisions 17 and 20.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from pilotage.containers.networks import shared_network_id
from pilotage.containers.ports import is_loopback
from pilotage.routes.defaults import ALIASES, IMAGES, PREFERRED_PORTS
from pilotage.routes.port_syntax import PortPair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.containers.container import Container
    from pilotage.containers.ports import PortMapping
    from pilotage.engine.types import Port
    from pilotage.routes.schema import RouteSettings

__all__ = ["BY_FILE", "BY_LABEL", "Target", "resolve_static_target", "resolve_target"]

_HTTP: Final = 80
_HTTPS: Final = 443
BY_LABEL: Final = "set by a label"
BY_FILE: Final = "set by the file"
_NO_TARGET: Final = "a file server has no target"
_PREFERRED: Final = f"first of {', '.join(map(str, PREFERRED_PORTS))} that is exposed"
_THOUSAND: Final = 1000


class Target(msgspec.Struct, frozen=True, gc=False):
    """The target of a route.

    Attributes:
        scheme: protocol used to connect to the target.
        host: host name or address; ``""`` if unknown.
        port: the ports on which the proxy and the target listen; 0 if unknown.
        scheme_reason, host_reason, port_reason: the reason for the scheme, host and port, as readable text.

    """

    scheme: str
    host: str
    port: PortPair
    scheme_reason: str = ""
    host_reason: str = ""
    port_reason: str = ""


def resolve_target(alias: str, container: Container, settings: RouteSettings) -> Target:
    """Resolve the target of a container's route.

    Args:
        alias: the route's alias, lower-cased.
        container: the route's container.
        settings: set by its labels.

    """
    if settings.scheme == "fileserver":
        return _file_server(settings)
    host, host_reason = _host(container, settings)
    scheme, port = settings.scheme, settings.port.proxy
    if scheme and port and host == container.private_hostname and container.exposes(port):
        return Target(scheme, host, settings.port, BY_LABEL, host_reason, BY_LABEL)
    return _inferred(alias, container, settings, host, host_reason)


def _inferred(alias: str, container: Container, settings: RouteSettings, host: str, host_reason: str) -> Target:
    """Return the target, inferring the values that the labels do not set."""
    scheme, port = settings.scheme, settings.port.proxy
    scheme_reason = port_reason = BY_LABEL
    listed = container.port_mapping
    for table, key, name in ((IMAGES, container.image_name, "image"), (ALIASES, alias, "alias")):
        known = table.get(key)
        if known is not None:
            if not scheme:
                scheme, scheme_reason = known[0], f"known for the {name} {key}"
            if not port:
                port, port_reason = known[1], f"known for the {name} {key}"
    if not port:
        own = host and host == container.private_hostname  # true for most containers
        port, port_reason = preferred_port(listed.private if own else _candidates(container, host))
    published = listed.public
    if not scheme and published and any(e.PrivatePort == port and e.Type == "udp" for e in published.values()):
        scheme, scheme_reason = "udp", f"port {port} is published for UDP"
    if host != container.private_hostname or port not in listed.private:
        reached, how = _translate(port, host, container, listed)
        if how:
            port, port_reason = reached.port, f"{port_reason}; {how}"
        if reached.host != host:
            host, host_reason = reached.host, f"container port {reached.published} is published on this address"
    if not scheme:
        scheme, scheme_reason = _scheme_by_port(settings.port.listening, port)
    pair = settings.port if settings.port.proxy == port else PortPair(settings.port.listening, port)
    return Target(scheme, host, pair, scheme_reason, host_reason, port_reason)


def resolve_static_target(alias: str, settings: RouteSettings) -> Target:
    """Resolve the target of a route from a file; by default, this host and the scheme's usual port (LABELS II.6.3).

    Args:
        alias: the route's alias, lower-cased.
        settings: set by the file.

    """
    scheme, port = settings.scheme, settings.port.proxy
    scheme_reason = port_reason = BY_FILE
    if alias in ALIASES:
        known = ALIASES[alias]
        if not scheme:
            scheme, scheme_reason = known[0], f"known for the alias {alias}"
        if not port:
            port, port_reason = known[1], f"known for the alias {alias}"
    if not scheme:
        scheme, scheme_reason = _scheme_by_port(settings.port.listening, port)
    if not port:
        port, port_reason = (_HTTPS if scheme == "https" else _HTTP), f"usual for {scheme}"
    host_reason = BY_FILE if settings.host else "this host, because the file sets none"
    host = settings.host or "localhost"
    return Target(scheme, host, PortPair(settings.port.listening, port), scheme_reason, host_reason, port_reason)


def _scheme_by_port(listening: int, port: int) -> tuple[str, str]:
    if listening:
        return "tcp", "a listening port is given"
    if port % _THOUSAND == _HTTPS:
        return "https", f"port {port} ends in 443"
    return "http", "nothing says otherwise"


def _file_server(settings: RouteSettings) -> Target:
    """Return the empty target of a route that serves a folder (LABELS II.6.6)."""
    return Target("fileserver", "", PortPair(settings.port.listening, 0), BY_LABEL, _NO_TARGET, _NO_TARGET)


def _host(container: Container, settings: RouteSettings) -> tuple[str, str]:
    if settings.host:
        return settings.host, BY_LABEL
    if container.private_hostname:
        return container.private_hostname, "the container's address"
    if container.public_hostname:
        return (
            container.public_hostname,
            "the engine's host, because the container's own address cannot be reached from here",
        )
    return "", "not known while the container does not run"


def preferred_port(ports: Mapping[int, Port]) -> tuple[int, str]:
    """Return the first of ``PREFERRED_PORTS`` in ``ports``, or else the lowest, and why; 0 without ports."""
    if not ports:
        return 0, "no port is exposed"
    for port in PREFERRED_PORTS:
        if port in ports:
            return port, "the only port" if len(ports) == 1 else _PREFERRED
    chosen = min(ports, key=lambda port: ports[port].PrivatePort)
    return chosen, "the only port" if len(ports) == 1 else "the lowest that is exposed"


class _Reached(NamedTuple):
    """The host and port at which a port is reached, and the container port published there, if any."""

    host: str
    port: int
    published: int = 0


def _uses_published_ports(host: str, container: Container) -> bool:
    return host == container.public_hostname and host != container.private_hostname


def _candidates(container: Container, host: str) -> Mapping[int, Port]:
    """Return the ports to choose from. On the engine's host, these are the published ones, if there are any."""
    if container.is_host_network_mode:
        return container.public_port_mapping
    ports = container.private_port_mapping
    if not host or not _uses_published_ports(host, container):
        return ports
    return {number: entry for number, entry in ports.items() if _published_at(entry, host)} or ports


def _published_at(entry: Port, host: str) -> str:
    """Return the host at which a published port can be reached; ``""`` if this machine cannot reach the port.

    A port that is published on one address can be reached only at that address; another machine's loopback address
    cannot be reached.
    """
    if not entry.PublicPort:
        return ""
    local = is_loopback(host)
    if entry.IP in ("", "0.0.0.0"):  # noqa: S104  all addresses
        return host
    if entry.IP == "::":  # listed alone, it is published for IPv6 only
        return "::1" if local else host
    return "" if is_loopback(entry.IP) and not local else entry.IP


def _unlisted(port: int, host: str, container: Container) -> tuple[_Reached, str]:
    """Return where a port that the container does not list is reached on the engine's host, and a reason or warning.

    A container that shares a network has only the ports that the network's owner publishes. If the owner does not
    publish a port, another program may listen there on the host.
    """
    if shared_network_id(container) and port not in container.public_port_mapping:
        return _Reached(host, 0), f"the container whose network it shares does not publish port {port}"
    entry = container.public_port_mapping.get(port)
    at = _published_at(entry, host) if entry is not None else host
    if entry is not None and not at:
        return _Reached(host, 0), _only_on(entry)
    return _Reached(at, port, entry.PrivatePort if entry is not None else 0), ""


def _only_on(entry: Port) -> str:
    where = f"only on the engine's {entry.IP}"
    return f"container port {entry.PrivatePort} is published {where}, which cannot be reached from here"


def _translate(port: int, host: str, container: Container, listed: PortMapping) -> tuple[_Reached, str]:
    """Return where a port is reached on a host, and the reason if it has another number there (decision 17).

    On the engine's host, a container's port becomes the port and address at which it is published, or 0 if it is not
    published. At the container's own address, a published number that is not one of its ports stands for the container
    port behind it.
    """
    as_it_is = _Reached(host, port)
    if not port or not host:
        return as_it_is, ""
    private, public = listed.private, listed.public
    if _uses_published_ports(host, container):
        entry = private.get(port)
        if entry is None:
            return _unlisted(port, host, container)
        if not entry.PublicPort:
            return _Reached(host, 0), f"container port {port} is not published"
        at = _published_at(entry, host)
        if not at:
            return _Reached(host, 0), _only_on(entry)
        how = "" if entry.PublicPort == port else f"container port {port} is published as {entry.PublicPort}"
        return _Reached(at, entry.PublicPort, port), how
    if host == container.private_hostname and port not in private:
        entry = public.get(port)
        if entry is not None:
            how = f"the host publishes container port {entry.PrivatePort} as {port}"
            return _Reached(host, entry.PrivatePort), how
    return as_it_is, ""
