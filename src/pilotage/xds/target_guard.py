"""Decides to which addresses of a route Envoy may connect. Pure.

Routes are checked once when they are built. This module rechecks what can change later: the addresses of a host name,
the addresses of this machine, and the ports on which the gateway listens for tcp and udp routes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.addresses import is_address
from pilotage.core.index import Index
from pilotage.policy import NO_POLICY, Policy
from pilotage.policy.target_addresses import KIND_NAMES, hint_for, is_ordinary, leads_here, parse_address, special_kind
from pilotage.policy.target_addresses import spellings as spellings_of
from pilotage.routes.reach import nowhere
from pilotage.table.precedence import Ranking, holder_of
from pilotage.xds.agent import host_of, is_of_machine
from pilotage.xds.problems import target_problem, unresolved

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pilotage.core.problems import Problem
    from pilotage.routes.route import Endpoint, Route
    from pilotage.table.precedence import Holder, Rank

__all__ = ["TargetGuard", "Targets"]


class TargetGuard(msgspec.Struct, frozen=True):
    """Decides which addresses and ports routes may not reach.

    Attributes:
        policy: the operator's rules.
        own_ports: ports on this machine on which the gateway, the API and the xDS server listen.
        local_addresses: returns the addresses of this machine, without loopback, in their usual spelling.
        published: returns where an engine publishes the ports of pilotage's own container: addresses and ports.

    """

    policy: Policy = NO_POLICY
    own_ports: frozenset[int] = frozenset()
    local_addresses: Callable[[], frozenset[str]] = frozenset
    published: Callable[[], frozenset[tuple[str, int]]] = frozenset

    @property
    def ports(self) -> frozenset[int]:
        """The ports on which pilotage may be reachable at some address."""
        published = self.published()
        return self.own_ports.union(port for _, port in published) if published else self.own_ports

    def is_local(self, text: str) -> bool:
        """Return whether an address in canonical form belongs to this machine and is not loopback."""
        return text in self.local_addresses()

    def is_here(self, text: str) -> bool:
        """Return whether connections to an address end on this machine (loopback included)."""
        return leads_here(text, self.is_local)

    def is_own(self, route: Route, endpoint: Endpoint, text: str) -> bool:
        """Return whether an address of an endpoint belongs to its container, or does not come from a label."""
        reach, is_local = endpoint.reach, nowhere if route.agent else self.is_local
        return reach is None or reach.owns(endpoint.host, is_local) or reach.owns(text, is_local)

    def refusal(self, route: Route, endpoint: Endpoint, text: str, *, here: bool) -> Problem | None:
        """Return why Envoy must not connect to an address of an endpoint; ``None`` if it may.

        Args:
            route: the route.
            endpoint: one of its endpoints.
            text: the endpoint's host, or the address to which its host name was resolved.
            here: whether connections to it end on this machine.

        """
        named = f"{endpoint.address} is {text}, " if text != endpoint.host else f"{endpoint.address} is "
        ours = endpoint.port in self.own_ports and route.scheme != "udp" and here
        published = self.published() if here or not route.agent else ()
        if ours or (published and any((each, endpoint.port) in published for each in _spellings(text))):
            return target_problem(route, endpoint, f"{named}a port of pilotage itself", _OTHER_TARGET)
        reach = endpoint.reach
        kind = special_kind(text)
        if reach is None or not kind or self.is_own(route, endpoint, text):
            return None
        verdict = self.policy.may_reach(reach.claimant, text, endpoint.port)
        if verdict.allowed:
            return None
        hint = hint_for(reach.claimant, text, endpoint.port)
        return target_problem(
            route, endpoint, f"{named}{KIND_NAMES[kind]}, so a container's route may not point there", hint
        )


_OTHER_TARGET: Final = "set the container's own host and port"

_Port = tuple[bool, int]
"""Whether it is a UDP port, and its number."""

_Place = str | int
"""An address in its usual spelling or, for a host name without addresses, its port."""

_Claim = tuple[bool, bool, int]
"""Whether a route listens on a port of this machine (otherwise, it points to it), and the port."""


class _Since(msgspec.Struct, frozen=True):
    """When a route claimed a port of this machine.

    Attributes:
        change: sequence number of the change with which the claim began.
        lasting: whether the claim remains while the container is stopped.

    """

    change: int
    lasting: bool


class Targets:
    """The addresses of all endpoints, and the routes that depend on them.

    Attributes:
        guard: decides which targets are refused.
        resolved: host name -> addresses, from the resolver.
        errors: host name -> why it was not resolved, from the resolver.
        agent_addresses: address of an agent, ``host:port`` -> the address to which its host was resolved.
        names: alias -> the route's container, and the host names that pilotage resolves for the route.
        ranking: decides which route gets a port that several routes claimed in the same change.

    """

    def __init__(self, guard: TargetGuard) -> None:
        self.guard = guard
        self.resolved: Mapping[str, tuple[str, ...]] = {}
        self.errors: Mapping[str, str] = {}
        self.agent_addresses: Mapping[str, str] = {}
        self.names: dict[str, tuple[str, frozenset[str]]] = {}
        self.ranking = Ranking()
        self._users: Index[str, str] = Index()  # host name -> aliases
        self._places: dict[str, tuple[_Place, ...]] = {}  # alias -> where it leads
        self._leading: Index[_Place, str] = Index()  # place -> aliases that lead there
        self._routes: dict[str, Route] = {}  # those that can collide with a listener, or that listen
        self._aimed: Index[_Port, str] = Index()  # port of this machine -> aliases that lead to it
        self._listening: Index[_Port, str] = Index()  # port -> aliases that listen on it
        self._ports: dict[str, tuple[frozenset[_Port], frozenset[_Port]]] = {}
        self._since: dict[str, tuple[Holder, dict[_Claim, _Since]]] = {}  # alias -> its holder, and its claims
        self._changes = 0

    def inherit(self, other: Targets) -> None:
        """Copy the resolved addresses, and the order in which ports were claimed, from an earlier instance."""
        self.resolved, self.errors, self.ranking = other.resolved, other.errors, other.ranking
        self.agent_addresses = other.agent_addresses
        self._since, self._changes = dict(other._since), other._changes

    def users(self, name: str) -> set[str]:
        """Return the aliases whose endpoints use a host name."""
        return set(self._users[name])

    def affected_by(self, local: Iterable[str], published: Iterable[tuple[str, int]]) -> set[str]:
        """Return the aliases to check after addresses of this machine or published ports of pilotage have changed."""
        places: set[_Place] = {*local, *(place for pair in published for place in pair)}
        return {alias for place in places for alias in self._leading[place]}

    def follow(self, routes: Mapping[str, Route | None]) -> set[str]:
        """Record the current routes of some aliases; return these aliases and all others that the change affects."""
        affected = set(routes)
        self._changes += 1
        for alias, route in routes.items():
            served = route if route is not None and not route.excluded else None
            affected |= self._follow(alias, served)
            if alias in self._ports or alias in self._since:
                self._remember(alias, route, self._claims_of(served) if served is not None else None)
        return affected

    def _remember(self, alias: str, route: Route | None, claims: Mapping[_Claim, bool] | None) -> None:
        """Record when a route began to claim its ports. Its claims continue while it is not served."""
        holder, known = self._since.pop(alias, ((), {}))
        if route is None:
            return
        now = holder_of(route)
        if holder[1:] != now[1:]:  # the name of an engine may change
            known = {}
        if claims is None:
            kept = {claim: since for claim, since in known.items() if since.lasting}
        else:
            kept = {
                claim: _Since(known[claim].change if claim in known else self._changes, lasting)
                for claim, lasting in claims.items()
            }
        if kept:
            self._since[alias] = now, kept

    def _claims_of(self, route: Route) -> dict[_Claim, bool]:
        """Return the ports that a route may use, and whether each claim remains while the container is stopped.

        If a label sets an address other than the container's own, the claim ends when the container stops. A route that
        listens on the port afterward keeps the port.
        """
        udp = route.scheme == "udp"
        claims: dict[_Claim, bool] = {}
        if route.port.listening:
            claims[True, udp, route.port.listening] = True
        for endpoint in route.endpoints:
            for text in self._texts(endpoint):
                if self._is_here(route, endpoint, text) and self._refusal(route, endpoint, text) is None:
                    claim = False, udp, endpoint.port
                    claims[claim] = claims.get(claim, False) or self.guard.is_own(route, endpoint, text)
        return claims

    def _follow(self, alias: str, route: Route | None) -> set[str]:
        names = (
            frozenset(e.host for e in route.endpoints if self._resolves(route, e)) if route is not None else _NO_NAMES
        )
        _, before = self.names.pop(alias, ("", _NO_NAMES))
        if names or before:
            self._users.replace(alias, before, names)
        if names and route is not None:
            self.names[alias] = f"{route.provider}/{route.container_id}", names
        self._follow_places(alias, route)
        ports = self._ports_of(route) if route is not None else _NO_PORTS
        if ports == _NO_PORTS and alias not in self._ports:
            return set()  # as with most routes
        old = self._ports.pop(alias, _NO_PORTS)
        if ports != _NO_PORTS:
            self._ports[alias] = ports
        if route is not None and ports != _NO_PORTS:
            self._routes[alias] = route
        else:
            self._routes.pop(alias, None)
        self._aimed.replace(alias, old[0], ports[0])
        self._listening.replace(alias, old[1], ports[1])
        others = [self._listening[port] for port in old[0] | ports[0]]
        others += [self._aimed[port] for port in old[1] | ports[1]]
        return {other for found in others for other in found}

    def _follow_places(self, alias: str, route: Route | None) -> None:
        found: dict[_Place, None] = {}
        for endpoint in route.endpoints if route is not None else ():
            texts = self._texts(endpoint)
            found |= dict.fromkeys((each for text in texts for each in _spellings(text)) if texts else (endpoint.port,))
        now = tuple(found)
        if (before := self._places.pop(alias, ())) != now:
            self._leading.replace(alias, before, now)
        if now:
            self._places[alias] = now

    def _resolves(self, route: Route, endpoint: Endpoint) -> bool:
        """Return whether pilotage resolves the host: it resolves names from labels and, to find loops, from files."""
        if route.agent and (route.is_static or is_of_machine(route.agent, endpoint)):
            return False  # the agent resolves names from files, and its own machine is loopback there
        return (endpoint.reach is not None or route.is_static) and not is_address(endpoint.host)

    def _is_here(self, route: Route, endpoint: Endpoint, text: str) -> bool:
        """Return whether connections to an address of an endpoint end on this machine.

        Behind an agent on another machine, addresses are that machine's, so only a name from a label counts.
        """
        if not route.agent or self.guard.is_here(self.agent_addresses.get(route.agent) or host_of(route.agent)):
            return self.guard.is_here(text)
        return endpoint.reach is not None and not special_kind(text) and self.guard.is_here(text)

    def _refusal(self, route: Route, endpoint: Endpoint, text: str) -> Problem | None:
        return self.guard.refusal(route, endpoint, text, here=self._is_here(route, endpoint, text))

    def _ports_of(self, route: Route) -> tuple[frozenset[_Port], frozenset[_Port]]:
        """Return the ports of this machine to which a route points, and those on which it listens."""
        udp = route.scheme == "udp"
        aimed = frozenset(
            (udp, endpoint.port)
            for endpoint in route.endpoints
            for text in self._texts(endpoint)
            if self._is_here(route, endpoint, text)
        )
        listening = frozenset({(udp, route.port.listening)}) if route.port.listening else _NONE
        return (aimed, listening) if aimed or listening else _NO_PORTS

    def _texts(self, endpoint: Endpoint) -> tuple[str, ...]:
        return (endpoint.host,) if is_address(endpoint.host) else self.resolved.get(endpoint.host, ())

    # ---- the verdict

    def checked(self, route: Route) -> tuple[Route | None, tuple[Problem, ...]]:
        """Return a route with only the endpoints to which Envoy may connect (``None``: not served), and problems."""
        alias = route.alias
        _, names = self.names.get(alias, ("", _NO_NAMES))
        ours = self.guard.ports
        if not names and alias not in self._ports and not any(e.port in ours for e in route.endpoints):
            return route, ()  # as with most routes
        if (taken := self._taken(route)) is not None:
            return msgspec.structs.replace(route, endpoints=()) if route.is_stream else None, (taken,)
        kept: list[Endpoint] = []
        problems: list[Problem] = []
        for endpoint in route.endpoints:
            allowed, found = self._allowed(route, endpoint, named=endpoint.host in names)
            problems += found
            if allowed:
                as_it_is = allowed == (endpoint.host,)
                kept.append(endpoint if as_it_is else msgspec.structs.replace(endpoint, addresses=allowed))
        if (endpoints := tuple(kept)) != route.endpoints:
            route = msgspec.structs.replace(route, endpoints=endpoints)
        return route, tuple(dict.fromkeys(problems))

    def _allowed(self, route: Route, endpoint: Endpoint, *, named: bool) -> tuple[tuple[str, ...], list[Problem]]:
        """Return the addresses of an endpoint to which Envoy may connect, and problems with the others."""
        texts = self.resolved.get(endpoint.host, ()) if named else (endpoint.host,)
        from_file = endpoint.reach is None and not is_address(endpoint.host)
        if not named and from_file:
            return texts, []
        if not texts:
            if from_file and endpoint.port not in self.guard.ports:
                return (endpoint.host,), []  # Envoy, on another machine, may be able to resolve it
            error = self.errors.get(endpoint.host, "")
            return (), [unresolved(route, endpoint, error)] if error else []
        refusals = {
            text: self._refusal(route, endpoint, text) or self._collision(route, endpoint, text) for text in texts
        }
        allowed = tuple(text for text, refusal in refusals.items() if refusal is None)
        problems = [refusal for refusal in refusals.values() if refusal is not None]
        if from_file and not problems:
            return (endpoint.host,), []  # Envoy resolves it
        if allowed and parse_address(endpoint.host) is not None:
            problems = []  # localhost is both 127.0.0.1 and ::1; one is enough
        return allowed, problems

    def _collision(self, route: Route, endpoint: Endpoint, text: str) -> Problem | None:
        """Return a problem if an endpoint points to this route's listener, or to one of a route with precedence."""
        udp = route.scheme == "udp"
        aim = self._order(route, (False, udp, endpoint.port))
        for other in self._listeners_at(route, endpoint, text):
            if other.alias == route.alias or self._order(other, (True, udp, endpoint.port)) < aim:
                whose = "its own listener" if other.alias == route.alias else f"the listener of {other.alias}"
                message = f"{endpoint.address} is {whose}, so requests would go round in a loop"
                return target_problem(route, endpoint, message, _OTHER_TARGET)
        return None

    def _order(self, route: Route, claim: _Claim) -> tuple[bool, int, Rank, str]:
        """Return the sort key of a claim to a port: files come first, then the earliest claim, then the rank."""
        _, known = self._since.get(route.alias, ((), {}))
        since = known[claim].change if claim in known else self._changes + 1
        return not route.is_static, since, self.ranking.rank(route), route.alias

    def _listeners_at(self, route: Route, endpoint: Endpoint, text: str) -> Iterator[Route]:
        aliases = self._listening[route.scheme == "udp", endpoint.port]
        if aliases and self._is_here(route, endpoint, text):
            yield from (it for it in map(self._routes.__getitem__, sorted(aliases)) if _overlap(it.bind, text))

    def _taken(self, route: Route) -> Problem | None:
        """Return a problem if a route wants to listen on a port of this machine to which another route points.

        Targets that the guard refuses do not count.
        """
        if not route.has_listener:
            return None
        udp, port = route.scheme == "udp", route.port.listening
        aim, listening = (False, udp, port), (True, udp, port)
        own = self._order(route, listening)
        for alias in sorted(self._aimed[udp, port]):
            other = self._routes[alias]
            if alias == route.alias or (order := self._order(other, aim)) > own or not self._has(alias, aim):
                continue
            if any(self._meet(other, endpoint, route.bind) for endpoint in other.endpoints if endpoint.port == port):
                first = order[:2] != own[:2] and not other.is_static
                why = "which had it first" if first else self.ranking.why(other, route)
                message = f"port {port} on this machine is the target of {alias}, {why}"
                return target_problem(route, other.endpoints[0], message, "choose another listening port", path="port")
        return None

    def _has(self, alias: str, claim: _Claim) -> bool:
        return claim in self._since.get(alias, ((), {}))[1]

    def _meet(self, route: Route, endpoint: Endpoint, bind: str) -> bool:
        """Return whether an endpoint may point to an address of this machine that a listener on ``bind`` would use."""
        return any(
            self._is_here(route, endpoint, text) and _overlap(bind, text) and not self._refusal(route, endpoint, text)
            for text in self._texts(endpoint)
        )


_NONE: Final[frozenset[_Port]] = frozenset()
_NO_PORTS: Final = (_NONE, _NONE)
_NO_NAMES: Final[frozenset[str]] = frozenset()


def _overlap(bind: str, text: str) -> bool:
    """Return whether a listener on ``bind`` accepts connections to an address."""
    address = ipaddress.ip_address(text)
    listening = ipaddress.ip_address(bind or "0.0.0.0")  # noqa: S104
    if listening.is_unspecified or address.is_unspecified:
        return True
    return listening in spellings_of(address)


def _spellings(text: str) -> Iterable[str]:
    """Return an address and the IPv4 addresses that it stands for, in their usual spelling."""
    address = None if is_ordinary(text) else parse_address(text)
    return (text,) if address is None else map(str, spellings_of(address))
