"""A route: what answers for an alias, or the reason why nothing does."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from pilotage.core.problems import Problem
from pilotage.routes.ports import PortPair
from pilotage.routes.schema import ROUTE, RouteSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Endpoint", "EndpointHealth", "EndpointState", "HealthState", "Route", "route_json"]

EndpointState = Literal["ready", "waiting", "unhealthy", "draining"]
HealthState = Literal["healthy", "unhealthy", "pending"]


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """One container that answers for a route.

    Attributes:
        host, port: where it listens.
        container: name of the container.
        container_id: its id.
        state: ``ready`` takes requests; ``waiting`` has not been healthy yet; ``unhealthy`` was; ``draining`` is about
            to stop and takes no new ones.

    """

    host: str
    port: int
    container: str = ""
    container_id: str = ""
    state: EndpointState = "ready"

    @property
    def address(self) -> str:
        """``host:port``, IPv6 in brackets."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def remark(self) -> str:
        """Why it is not ready, for people; ``""`` when it is."""
        return _REMARKS[self.state]


_REMARKS: Final[dict[EndpointState, str]] = {
    "ready": "",
    "waiting": "its health check has not passed yet",
    "unhealthy": "its health check fails",
    "draining": "it is about to stop",
}


class EndpointHealth(msgspec.Struct, frozen=True, gc=False):
    """What the gateway's probes found out about an endpoint. It is no part of the route, and changes nothing in it.

    Attributes:
        state: ``healthy`` or ``unhealthy``, as its last probes came out; ``pending``: it has not been probed yet.
        since: when that was first seen, seconds since 1970; probes are looked at every few seconds.

    """

    state: HealthState
    since: float = 0.0

    @property
    def remark(self) -> str:
        """How it is, for people."""
        return _FINDINGS[self.state]


_FINDINGS: Final[dict[HealthState, str]] = {
    "healthy": "passes the gateway's probe",
    "unhealthy": "fails the gateway's probe",
    "pending": "has not been probed yet",
}


class Route(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What becomes of one alias of one container, or of its replicas.

    Attributes:
        alias: the name it answers for.
        provider: name of the engine, or of the file that the route is written in.
        container: name of the container; of replicas, the oldest; ``""`` for a route from a file.
        container_id: its id.
        created: when that container was created, seconds since 1970; 0 for a route from a file.
        service: ``(provider, project, service)`` of Docker Compose, by which replicas are known; empty without.
        scheme: protocol spoken with the target.
        host: the target's host; ``""`` while it is not known (a sleeping container).
        port: where the proxy listens (tcp, udp) and where the target does.
        bind: address the proxy listens on; ``""`` for the shared listeners.
        endpoints: what takes its requests; empty when it is excluded or sleeping.
        excluded: it is not served.
        excluded_reason: one of :class:`~pilotage.routes.exclusion.ExclusionReason`, ``""`` when it is served.
        health_check: its target is probed.
        idle_watcher: its container is put to sleep while nobody asks for it.
        settings: everything that labels ask of it.
        labelled: names of the fields that labels set.
        contested: another container wants its alias, too; one of the two takes over from the other when that goes.
        problems: what is wrong with its labels.

    """

    alias: str
    provider: str = ""
    container: str = ""
    container_id: str = ""
    created: int = 0
    service: tuple[str, ...] = ()
    scheme: str = "http"
    host: str = ""
    port: PortPair = PortPair()
    bind: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    excluded: bool = False
    excluded_reason: str = ""
    health_check: bool = False
    idle_watcher: bool = False
    settings: RouteSettings = RouteSettings()
    labelled: tuple[str, ...] = ()
    contested: bool = False
    problems: tuple[Problem, ...] = ()

    @property
    def serving(self) -> tuple[Endpoint, ...]:
        """The endpoints that requests may go to: the ready ones; without any, the unhealthy; without these, draining.

        An endpoint that has never been healthy (``waiting``) is never among them.
        """
        for state in ("ready", "unhealthy", "draining"):
            if found := tuple(endpoint for endpoint in self.endpoints if endpoint.state == state):
                return found
        return ()

    @property
    def remark(self) -> str:
        """Which endpoints are not ready and why, for people; ``""`` when all are."""
        odd = [f"{e.container or e.address}: {e.remark}" for e in self.endpoints if e.remark]
        if odd and all(endpoint.state != "ready" for endpoint in self.serving):
            odd.append("requests go there for want of a better one" if self.serving else "no endpoint takes requests")
        return "; ".join(odd)

    @property
    def is_static(self) -> bool:
        """True for a route from a file, whose provider is the name of the file."""
        return not self.container

    @property
    def probed(self) -> bool:
        """Whoever serves the route probes its endpoints: a label asks for it, or the route is in a pool.

        Without either, and for udp, where nothing need answer, there are no probes.
        """
        wanted = "healthcheck" in self.labelled or bool(self.settings.load_balance.link)
        off = self.settings.healthcheck.disable or not self.health_check
        return wanted and not off and not self.excluded and self.scheme != "udp"

    @property
    def is_stream(self) -> bool:
        """True for tcp and udp."""
        return self.scheme in ("tcp", "udp")

    @property
    def listen(self) -> str | None:
        """Where the proxy listens, as a URL; ``None`` for the shared listeners and for what is not served."""
        if self.excluded:
            return None
        if self.is_stream:
            return f"{self.scheme}{_family(self.bind)}://{bracketed(self.bind)}:{self.port.listening}"
        if self.bind or self.port.listening:
            return f"https://{bracketed(self.bind)}:{self.port.listening}"
        return None

    @property
    def target(self) -> str | None:
        """Where requests go, as a URL; ``None`` while the host is not known."""
        if self.scheme == "fileserver" and not self.excluded:
            return f"file://{self.settings.root}"
        if not self.host:
            return None
        family = _family(self.host) if self.is_stream and not self.excluded else ""
        return f"{self.scheme}{family}://{bracketed(self.host)}:{self.port.proxy}"


def bracketed(host: str) -> str:
    """Return a host as it stands before a port: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def _family(host: str) -> str:
    """Return ``4`` or ``6`` for an address, ``""`` for a name (LABELS II.6.6)."""
    if ":" in host:
        return "6"
    return "4" if host.replace(".", "").isdigit() else ""


_SHOWN_ANYWAY: Final = frozenset({"alias", "scheme", "host", "port", "bind"})


def route_json(route: Route, health: Mapping[str, EndpointHealth] = MappingProxyType({})) -> dict[str, Any]:
    """Return a route as plain data for JSON: facts first, then each field that a label set; times end in ``_s``.

    Args:
        route: the route.
        health: what probes found, by the address of an endpoint.

    """
    shown: dict[str, Any] = {
        "alias": route.alias,
        "provider": route.provider,
        "container": route.container,
        "scheme": route.scheme,
        "host": route.host,
        "port": {"listening": route.port.listening, "proxy": route.port.proxy},
        "listen": route.listen,
        "target": route.target,
        "endpoints": [_endpoint_json(endpoint, health.get(endpoint.address)) for endpoint in route.endpoints],
        "excluded": route.excluded,
        "excluded_reason": route.excluded_reason,
        "health_check": route.health_check,
        "idle_watcher": route.idle_watcher,
    }
    if route.bind:
        shown["bind"] = route.bind
    for name in route.labelled:
        if name not in _SHOWN_ANYWAY:
            key, value = ROUTE.fields[name].kind.dump(name, getattr(route.settings, name))
            shown[key] = value
    return shown


def _endpoint_json(endpoint: Endpoint, health: EndpointHealth | None) -> dict[str, Any]:
    return {
        "container": endpoint.container,
        "host": endpoint.host,
        "port": endpoint.port,
        "state": endpoint.state,
        "health": None if health is None else {"state": health.state, "since": health.since},
    }
