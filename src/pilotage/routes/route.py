"""Defines routes: the endpoints that serve an alias, or the reason why none does. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.secrets import hidden_texts
from pilotage.policy import Claimant
from pilotage.policy.target_addresses import Reach
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.schema import ROUTE, RouteSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Endpoint", "EndpointHealth", "EndpointState", "HealthState", "Route", "secrets_of"]

EndpointState = Literal["ready", "waiting", "unhealthy", "draining"]
HealthState = Literal["healthy", "unhealthy", "pending"]


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """One container that serves a route.

    Attributes:
        host, port: the address at which the container listens.
        container: name of the container.
        container_id: ID of the container.
        state: ``ready`` takes requests; ``waiting`` has never been healthy; ``unhealthy`` was healthy before;
            ``draining`` is about to stop and takes no new requests.
        reach: for a host name from a label, the addresses that are the container's own. The name's addresses are
            checked against them whenever it is resolved.
        addresses: the addresses of a host name to which requests may be sent while the route is served; empty if the
            host is an address, and for a name that Envoy resolves.

    """

    host: str
    port: int
    container: str = ""
    container_id: str = ""
    state: EndpointState = "ready"
    reach: Reach | None = None
    addresses: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """``host:port``, IPv6 in brackets."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def remark(self) -> str:
        """Why it is not ready, as readable text; ``""`` if it is."""
        return _REMARKS[self.state]


_REMARKS: Final[dict[EndpointState, str]] = {
    "ready": "",
    "waiting": "its health check has not passed yet",
    "unhealthy": "its health check fails",
    "draining": "it is about to stop",
}


class EndpointHealth(msgspec.Struct, frozen=True, gc=False):
    """The result of the gateway's probes of an endpoint. It is not part of the route and does not affect it.

    Attributes:
        state: result of the last probes; ``pending`` before the first one.
        since: time when this state was first seen, seconds since 1970; results are polled every few seconds.

    """

    state: HealthState
    since: float = 0.0

    @property
    def remark(self) -> str:
        """The state as a readable sentence."""
        return _FINDINGS[self.state]


_FINDINGS: Final[dict[HealthState, str]] = {
    "healthy": "passes the gateway's probe",
    "unhealthy": "fails the gateway's probe",
    "pending": "has not been probed yet",
}


class Route(msgspec.Struct, frozen=True, gc=False):
    """The route of one alias of one container, or of its replicas.

    Attributes:
        alias: the name under which the route is served.
        provider: name of the engine, or of the file that defines the route.
        container: name of the container, or of the oldest replica; ``""`` for a route from a file.
        container_id: ID of that container.
        created: time of that container's creation, seconds since 1970; 0 for a route from a file.
        service: ``(provider, project, service)`` for Docker Compose, or ``(provider, "", service)`` for a swarm, shared
            by replicas; empty if there is none.
        scheme: protocol used to connect to the target.
        host: the target's host; ``""`` while the host is unknown, because the container sleeps.
        port: listening port of the proxy (0: the shared listeners) and port of the target.
        bind: address on which the proxy listens; ``""`` for the addresses of the shared listeners.
        endpoints: containers that take the route's requests; empty if the route is excluded or sleeping.
        excluded: whether the route is excluded, and therefore not served.
        excluded_reason: one of :class:`~pilotage.routes.exclusion.ExclusionReason`; ``""`` if it is not excluded.
        health_check: whether the route's target is probed.
        idle_watcher: whether the route's container sleeps while there are no requests.
        settings: all settings, including defaults.
        labelled: names of the fields that labels set.
        contested: whether another container claims the same alias and takes over if this container disappears.
        problems: problems with its labels.
        claimant: the container, in the form that the policy's rules match; ``None`` if there are no rules, or for a
            route from a file.
        folders: folders below which the files named in its settings must lie when they are read; ``None`` for a route
            from a file, which may use any file.
        agent: address (``host:port``) of the agent that relays its requests; a route from a file may give the agent's
            name instead; ``""`` if there is none. Hosts and addresses of the route are as seen from the agent.
        filled_in: the route's middlewares, including middlewares from files; ``None`` if none comes from a file.
        sleeps_with: engine and ID of the container with which a route from a file sleeps and wakes; empty if there is
            none.

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
    claimant: Claimant | None = None
    folders: tuple[str, ...] | None = ()
    agent: str = ""
    filled_in: dict[str, Any] | None = None
    sleeps_with: tuple[str, ...] = ()

    @property
    def middlewares(self) -> Mapping[str, Any]:
        """Its middlewares by name, including those from files."""
        return self.settings.middlewares if self.filled_in is None else self.filled_in

    @property
    def serving(self) -> tuple[Endpoint, ...]:
        """The endpoints that take requests.

        These are the ready ones; if there are none, the unhealthy ones; failing that, the draining ones. An endpoint
        that has never been healthy (``waiting``) takes no requests.
        """
        for state in ("ready", "unhealthy", "draining"):
            if found := tuple(endpoint for endpoint in self.endpoints if endpoint.state == state):
                return found
        return ()

    @property
    def remark(self) -> str:
        """A note that it is asleep, or which endpoints are not ready and why; ``""`` otherwise."""
        if self.idle_watcher and not self.endpoints and not self.excluded:
            return "asleep" if self.sleeps_with else "asleep; its address is known once it wakes"
        odd = [f"{e.container or e.address}: {e.remark}" for e in self.endpoints if e.remark]
        if odd and all(endpoint.state != "ready" for endpoint in self.serving):
            odd.append(
                "no endpoint is ready; requests are sent anyway" if self.serving else "no endpoint takes requests"
            )
        return "; ".join(odd)

    @property
    def is_static(self) -> bool:
        """Whether it comes from a file. If so, its provider is the name of the file."""
        return not self.container

    @property
    def probed(self) -> bool:
        """Whether the gateway probes the endpoints: a label configures it, or the route is in a pool.

        UDP is never probed, because a UDP service need not answer.
        """
        wanted = "healthcheck" in self.labelled or bool(self.settings.load_balance.link)
        off = self.settings.healthcheck.disable or not self.health_check
        return wanted and not off and not self.excluded and self.scheme != "udp"

    @property
    def pool(self) -> str:
        """Name of the pool under which it answers instead of its alias; ``""`` if it is in no pool."""
        return "" if self.excluded else self.pool_name

    @property
    def pool_name(self) -> str:
        """Name of the pool that it wants to join; ``""`` if there is none.

        This is ``load_balance.link``. For tcp and udp, the scheme precedes it, as in ``tcp/db``, because the name of
        such a pool is not a host.
        """
        link = self.settings.load_balance.link
        return f"{self.scheme}/{link}" if link and self.is_stream else link

    @property
    def is_stream(self) -> bool:
        """Whether the scheme is tcp or udp."""
        return self.scheme in ("tcp", "udp")

    @property
    def has_listener(self) -> bool:
        """Whether it has a listening port of its own. HTTP routes on the same address and port share a listener."""
        return bool(self.port.listening) or self.is_stream

    @property
    def listen(self) -> str | None:
        """The listener as a URL; ``None`` for the shared listeners and for an excluded route."""
        if self.excluded:
            return None
        if self.is_stream:
            return f"{self.scheme}{_family(self.bind)}://{bracketed(self.bind)}:{self.port.listening}"
        if self.bind or self.port.listening:
            return f"https://{bracketed(self.bind)}:{self.port.listening}"
        return None

    @property
    def place(self) -> str:
        """The listener for people to read; ``""`` for the shared listeners and for an excluded route."""
        if self.listen is None or self.is_stream:
            return self.listen or ""
        if not self.port.listening:
            return f"{self.bind}, on the gateway's ports"
        return f"{bracketed(self.bind)}:{self.port.listening}" if self.bind else f"port {self.port.listening}"

    @property
    def target(self) -> str | None:
        """The target as a URL; ``None`` while its host is unknown."""
        if self.scheme == "fileserver" and not self.excluded:
            return f"file://{self.settings.root}"
        if not self.host:
            return None
        family = _family(self.host) if self.is_stream and not self.excluded else ""
        return f"{self.scheme}{family}://{bracketed(self.host)}:{self.port.proxy}"


def bracketed(host: str) -> str:
    """Return a host in the form in which it precedes a port, with IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def _family(host: str) -> str:
    """Return ``4`` or ``6`` for an address and ``""`` for a name (LABELS II.6.6)."""
    if ":" in host:
        return "6"
    return "4" if host.replace(".", "").isdigit() else ""


def secrets_of(route: Route) -> frozenset[str]:
    """Return the secret texts in a route's settings, which no output may contain."""
    found: set[str] = set()
    for name in route.labelled:
        if name in ROUTE.fields:
            value = msgspec.to_builtins(getattr(route.settings, name), enc_hook=str)
            found.update(hidden_texts(value, ROUTE.visible.at((name,))))
    return frozenset(found)
