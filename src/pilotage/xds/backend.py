"""Determines the backend of an alias or a pool: the endpoints that receive its requests. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from pilotage.core.addresses import is_address
from pilotage.core.problems import Problem
from pilotage.routes.gate import Gate
from pilotage.routes.route import Endpoint, Route
from pilotage.table.hosts import route_claimant
from pilotage.table.precedence import is_draining
from pilotage.xds.agent import TUNNELLED, Agent, Tunnel
from pilotage.xds.cluster_names import ClusterNames, gate_names, pool_gate
from pilotage.xds.middlewares import PLAIN, RoutePolicy, route_policy
from pilotage.xds.rule_outcomes import Compiled, route_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pilotage.routes.schema import LoadBalance

__all__ = [
    "RESTART_HOLD",
    "Backend",
    "Backing",
    "Member",
    "insists_on_tls",
    "may_restart",
    "pool_backend",
    "route_backend",
    "usable",
    "without_stream_hold",
]

Backing = Literal["none", "shared", "agent", "own"]


RESTART_HOLD: Final = 5.0
"""Seconds that requests wait by default for a container that was told to stop, because it may be restarting."""


class Member(msgspec.Struct, frozen=True, gc=False):
    """One address of an endpoint that receives requests.

    Attributes:
        endpoint: the endpoint.
        weight: the load-balancing weight of the address.
        address: one of the endpoint's ``addresses``; ``""`` if it has none.
        agent: the agent through which Envoy reaches the endpoint; ``None`` if Envoy connects directly.

    """

    endpoint: Endpoint
    weight: int = 1
    address: str = ""
    agent: Agent | None = None

    @property
    def host(self) -> str:
        """Where Envoy connects: an address, or a name that Envoy resolves."""
        return self.address or self.endpoint.host


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoints that serve one alias or pool, and how Envoy reaches them.

    Attributes:
        name: the alias or the pool's name.
        pool: whether the name is the name of a pool.
        route: the route whose settings apply; for a pool, its leader.
        members: the endpoints that receive requests.
        route_policy: what the route's middlewares require.
        restarting: whether the backend's containers have been told to stop and may come back.
        backing: ``own``: a cluster of its own; ``shared``: the cluster of all plain routes, where each route sets the
            address of its endpoint; ``agent``: the same for the plain routes of one agent; ``none``: no endpoint.
        files: path -> content of the files that labels of the route name.
        gate: whether requests to the backend pass, wait or are rejected; ``None`` if its containers never sleep.
        names: the backend's clusters; ``None`` if it has a single cluster with its own name.
        measured: whether Envoys count requests to the backend; see :mod:`pilotage.xds.measured`.
        agent: the agent of ``route``, which determines the path and headers of requests to all members.
        others: other place to which the route's rules send requests -> its backend; ``None`` if it cannot be used.

    """

    name: str
    route: Route
    members: tuple[Member, ...] = ()
    route_policy: RoutePolicy = PLAIN
    restarting: bool = False
    backing: Backing = "none"
    pool: bool = False
    files: dict[str, bytes] = {}
    gate: Gate | None = None
    names: ClusterNames | None = None
    measured: bool = True
    agent: Agent | None = None
    others: dict[tuple[str, str], Backend | None] = {}

    @property
    def key(self) -> str:
        """Identifies the backend: ``route/ALIAS`` or ``pool/NAME``."""
        return f"{'pool' if self.pool else 'route'}/{self.name}"

    @property
    def cluster(self) -> str:
        """Name of the backend's own cluster."""
        return self.key if self.names is None else self.names.current

    @property
    def gate_name(self) -> str:
        """The backend's name in :mod:`pilotage.sleep`: the alias, or ``POOL/NAME``."""
        return pool_gate(self.name) if self.pool else self.name

    @property
    def is_closed(self) -> bool:
        """Whether requests cannot reach it, because its containers are not awake or none of its endpoints answers."""
        return self.names is not None and self.names.absent

    @property
    def proxy(self) -> Agent | None:
        """The agent whose HTTP proxy the requests go through; ``None`` if Envoy or a tunnel reaches the endpoints."""
        return None if self.route.scheme in TUNNELLED else self.agent

    def tunnel(self, member: Member) -> Tunnel | None:
        """Return the tunnel to a member; ``None`` if there is none."""
        if member.agent is None or self.route.scheme not in TUNNELLED:
            return None
        return member.agent.tunnel_to(member.endpoint, member.host, udp=self.route.scheme == "udp")

    @property
    def streams_datagrams(self) -> bool:
        """Whether Envoy sends the datagrams of a udp route over streams to the relay of tunnels."""
        return self.route.scheme == "udp" and self.agent is not None and not (self.gate is not None and self.gate.relay)

    @property
    def hold(self) -> float:
        """Seconds that requests wait for an endpoint: the route's ``hold``, else a default if restarting, else 0."""
        return self.route.settings.hold or (RESTART_HOLD if self.restarting else 0.0)

    @property
    def rules(self) -> Compiled:
        """The compiled rules of the route."""
        return route_rules(self.route)

    @property
    def reachable(self) -> tuple[Member, ...]:
        """The members; empty while requests must wait because no member answers yet."""
        return () if self.names is not None and self.names.absent and not self.names.answers else self.members

    @property
    def longest_wait(self) -> float:
        """Maximum number of seconds that a request waits before it is sent."""
        return max(self.hold, self.names.patience if self.names is not None else 0.0)


def _members(endpoints: Iterable[tuple[Endpoint, int, Agent | None]]) -> tuple[Member, ...]:
    """Return one member for each endpoint or, if the endpoint has resolved addresses, one for each address."""
    found: list[Member] = []
    seen: set[tuple[str, int, Agent | None]] = set()
    for endpoint, weight, agent in endpoints:
        if not endpoint.addresses:
            found.append(Member(endpoint, weight, "", agent))
            continue
        for address in endpoint.addresses:
            if (address, endpoint.port, agent) not in seen:
                seen.add((address, endpoint.port, agent))
                found.append(Member(endpoint, weight, address, agent))
    return tuple(found)


_RANKS: Final = (("ready",), ("unhealthy",), ("draining",))


def usable(endpoints: Iterable[Endpoint], *, only_ready: bool = False) -> tuple[Endpoint, ...]:
    """Return the endpoints that receive requests, with each address only once.

    These are the ready endpoints or, if no endpoint is ready, the unhealthy endpoints, which were ready before. If
    there are no such endpoints either, these are the draining endpoints, which may still answer. An endpoint that has
    never been ready receives nothing.

    Args:
        endpoints: endpoints of a route.
        only_ready: return only ready endpoints, because requests can wait.

    """
    return tuple(endpoint for _, endpoint in _usable_of([("", it) for it in endpoints], only_ready=only_ready))


def _usable_of(found: Sequence[tuple[str, Endpoint]], *, only_ready: bool) -> dict[tuple[str, Endpoint], None]:
    """Return ``(agent, endpoint)`` for the usable endpoints. An address occurs once for each agent that has it."""
    for states in _RANKS[:1] if only_ready else _RANKS:
        chosen = {(agent, endpoint.address): endpoint for agent, endpoint in found if endpoint.state in states}
        if chosen:
            return dict.fromkeys((agent, endpoint) for (agent, _), endpoint in chosen.items())
    return {}


def insists_on_tls(route: Route) -> bool:
    """Return whether the settings of a route require the target to prove its identity."""
    s = route.settings
    return bool(s.ssl_trusted_certificate or s.ssl_certificate or s.ssl_protocols or s.ssl_server_name)


def may_restart(route: Route) -> bool:
    """Return whether requests to a route wait briefly, because its containers were told to stop and may come back."""
    waits_anyway = bool(route.settings.hold or route.settings.load_balance.link)
    return is_draining((route,)) and not route.is_stream and not waits_anyway


def without_stream_hold(route: Route) -> Route:
    """Return a tcp or udp route without its ``hold`` setting, because only HTTP requests can wait."""
    if not (route.is_stream and route.settings.hold):
        return route
    return msgspec.structs.replace(route, settings=msgspec.structs.replace(route.settings, hold=0.0))


def route_backend(
    route: Route,
    *,
    used_for_auth: bool = False,
    restarting: bool = False,
    gate: Gate | None = None,
    agent: Agent | None = None,
) -> Backend:
    """Return the backend of a route.

    Args:
        route: a route that may be served.
        used_for_auth: whether other routes use this route for forwardauth, so that it needs a cluster of its own.
        restarting: whether the route's containers have been told to stop and may come back. Until they come back,
            requests are retried in a cluster of the route's own.
        gate: whether its requests pass; ``None`` if its containers never sleep.
        agent: the agent of the route.

    """
    members = _members((e, 1, agent) for e in usable(route.endpoints, only_ready=bool(route.settings.hold)))
    return Backend(
        name=route.alias,
        route=route,
        members=members,
        route_policy=route_policy(route.middlewares),
        restarting=restarting and (gate is None or gate.opening == "open"),
        backing="own" if gate else _backing(route, members, used_for_auth=used_for_auth, restarting=restarting),
        gate=gate,
        agent=agent,
        names=gate_names(route.alias, gate) if gate is not None and not gate.relay else None,
    )


def pool_backend(
    link: str,
    routes: Sequence[Route],
    *,
    gate: Gate | None = None,
    agents: Mapping[str, Agent] = MappingProxyType({}),
) -> tuple[Backend, tuple[Problem, ...]]:
    """Return the backend of a pool.

    Args:
        link: the pool's name.
        routes: its members, at least one, the leader first.
        gate: whether its requests pass; ``None`` if its containers never sleep.
        agents: address -> agent.

    Returns:
        The backend, and a problem for each route that cannot join because its settings differ.

    """
    leader, *others = routes
    joined, problems = [leader], []
    for route in others:
        different = [name for name in _COMMON if getattr(route.settings, name) != getattr(leader.settings, name)]
        if route.is_stream and (route.bind, route.port.listening) != (leader.bind, leader.port.listening):
            different.insert(0, "listening port")
        if route.scheme != leader.scheme:
            different.insert(0, "scheme")
        if not _look_alike(agents.get(route.agent), agents.get(leader.agent)):
            different.insert(0, "agent")
        if not different:
            joined.append(route)
            continue
        problems.append(
            Problem(
                message=f"cannot join the pool {link!r}: its {different[0]} differs from that of {leader.alias}",
                hint=f"give all members of the pool the same {different[0]}",
                provider=route.provider,
                container=route.container,
                route=route.alias,
                path="load_balance.link",
                refused=True,
            )
        )
    waits = bool(leader.settings.hold)
    chosen = _usable_of([(route.agent, e) for route in joined for e in route.endpoints], only_ready=waits)
    members = _members(
        (e, share, agents.get(route.agent))
        for route, share in _shares(joined)
        for e in route.endpoints
        if (route.agent, e) in chosen
    )
    policy = route_policy(leader.middlewares)
    settings = msgspec.structs.replace(leader.settings, load_balance=_common_balance(joined))
    return Backend(
        name=link,
        route=msgspec.structs.replace(leader, settings=settings),
        members=members,
        route_policy=policy,
        backing="own" if members or waits or gate else "none",
        pool=True,
        gate=gate,
        names=gate_names(pool_gate(link), gate) if gate is not None else None,
        agent=agents.get(leader.agent),
    ), tuple(problems)


def _common_balance(routes: Sequence[Route]) -> LoadBalance:
    """Return the settings of a pool: those of its first member, completed by those of the other members."""
    found = [route.settings.load_balance for route in routes]
    sticky = next((each for each in found if each.sticky), found[0])
    return msgspec.structs.replace(
        found[0],
        mode=next((each.mode for each in found if each.mode), ""),
        options=next((each.options for each in found if each.options), None),
        sticky=sticky.sticky,
        sticky_max_age=sticky.sticky_max_age,
    )


def _look_alike(one: Agent | None, other: Agent | None) -> bool:
    """Return whether one route can use both agents: both expect the same headers, or both are ``None``."""
    if one is None or other is None:
        return one is other
    return one.is_old == other.is_old


_COMMON: Final = (
    "middlewares",
    "inbound_mtls_profile",
    "hold",
    "no_tls_verify",
    "ssl_server_name",
    "ssl_trusted_certificate",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_protocols",
    "response_header_timeout",
    "max_conns_per_host",
    "compression",
    "disable_compression",
    "healthcheck",
    "path_patterns",
    "relay_proxy_protocol_header",
    "tls_termination",
)


def _shares(routes: Sequence[Route]) -> list[tuple[Route, int]]:
    """Return each member's weight: its own, or else the mean of the weights that others set.

    A member from outside the leader's Compose project and engine gets at most the largest weight of a member inside.
    """
    leader = route_claimant(routes[0])
    weights = [(it, it.settings.load_balance.weight, route_claimant(it).is_kin(leader)) for it in routes]
    inside = [weight for _, weight, is_inside in weights if weight and is_inside]
    mean, most = (max(1, round(sum(inside) / len(inside))), max(inside)) if inside else (1, 1)
    return [(route, weight or mean if is_inside else min(weight or mean, most)) for route, weight, is_inside in weights]


def _backing(route: Route, members: tuple[Member, ...], *, used_for_auth: bool, restarting: bool) -> Backing:
    settings = route.settings
    if restarting or route.scheme == "fileserver":
        return "own"
    if not members:
        return "own" if settings.hold else "none"
    agent = members[0].agent
    proxied = agent is not None and route.scheme not in TUNNELLED
    if proxied and len(members) == 1 and not (settings.hold or settings.max_conns_per_host):
        single = not (route.service or route.contested or used_for_auth)
        return "agent" if single else "own"
    plain = (
        len(route.endpoints) == 1
        and not route.service  # it may gain replicas at any time, and in-flight requests must find them in its cluster
        and not route.contested  # likewise for a successor
        and not route.is_static  # it has fewer retries
        and not used_for_auth
        and agent is None
        and (route.scheme == "http" or (route.scheme == "https" and settings.no_tls_verify))
        and not settings.hold
        and "healthcheck" not in route.labelled
        and not settings.max_conns_per_host
        and settings.ssl_server_name is None
        and not settings.ssl_certificate
        and not settings.ssl_protocols
        and is_address(members[0].endpoint.host)
    )
    return "shared" if plain else "own"
