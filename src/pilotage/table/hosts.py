"""Decides which routes serve a host that is claimed as an alias, as a full name or as the name of a pool. Pure.

Rules: decisions 31 and 32.
"""

from __future__ import annotations

import heapq
import re
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.text import count, shorten
from pilotage.policy import NO_POLICY, Claimant, Policy
from pilotage.routes.route import Route
from pilotage.table.conflicts import name_of
from pilotage.table.precedence import Holder, Ranking, holder_of, is_draining, is_open, may_stand_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["HostClaims", "HostResolution", "HostRules", "lost_names", "resolve_host", "route_claimant"]

_MAX_LISTED: Final = 3
_MAX_SUCCESSORS: Final = 8
"""Maximum number of other pools with the same name that may wait to take over the name."""


class HostClaims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims to one host.

    Attributes:
        name: the host.
        route: the route whose alias is the host.
        pooled: the routes whose pool has the host as its name.
        above: for a full name, the routes that serve its first label and also answer for the full name.
        held: the previous holders of the host that still exist, the earliest first.

    """

    name: str
    route: Route | None = None
    pooled: tuple[Route, ...] = ()
    above: tuple[Route, ...] = ()
    held: tuple[Holder, ...] = ()


class HostResolution(msgspec.Struct, frozen=True, kw_only=True):
    """The routes that serve a host.

    Attributes:
        kind: ``route``, ``pool`` or ``above``: which of the :class:`HostClaims` won; ``""`` if no route serves the
            host.
        routes: the routes that serve the host, the leader of a pool first.
        refused: alias of each route that must not serve the host -> the problem, or ``None`` if the route is draining.

    """

    kind: Literal["", "route", "pool", "above"] = ""
    routes: tuple[Route, ...] = ()
    refused: dict[str, Problem | None] = {}


class HostRules(msgspec.Struct, frozen=True, kw_only=True):
    """Decides between the claims to a host.

    Attributes:
        ranking: ranks the claims, knowing the order of engines.
        policy: decides which pools a container may join.

    """

    ranking: Ranking
    policy: Policy = NO_POLICY


class _Party(msgspec.Struct, frozen=True):
    """Routes that serve a host together."""

    kind: Literal["route", "pool", "above"]
    routes: tuple[Route, ...]


def resolve_host(claims: HostClaims, rules: HostRules) -> HostResolution:
    """Choose between the claims to one host.

    The claim with the best rank wins. A host can be claimed by a route, by a pool, or, for a full name, by the route or
    pool that serves its first label. If the holder of the first label also claims the full name itself, only its claim
    to the full name counts. Pool members that may not join the leader are refused. When all containers of the
    winner are draining, the next claim with a ready endpoint takes over. A claim through the first label never takes
    over, so that requests wait for a restarting container instead of reaching another service.
    """
    rank = rules.ranking.rank
    parties = [_Party("route", (claims.route,))] if claims.route is not None else []
    pools, refused = _pools(claims, rules)
    parties += pools
    if claims.above and not any(_is_of(party, claims.above) for party in parties):
        parties.append(_Party("above", claims.above))
    if not parties:
        return HostResolution()
    parties.sort(key=lambda party: min(rank(route, claims.held) for route in party.routes))
    awake = [party for party in parties if any(map(is_open, party.routes))] or parties
    winner = awake[0]
    winner = next((party for party in awake if _may_stand_in(party, winner, claims.held)), winner)
    found: dict[str, Problem | None] = {}
    for party in parties:
        if party is winner or party.kind == "above":
            continue
        for route in party.routes:
            found[route.alias] = None if is_draining((route,)) else _refusal(route, winner, claims, rules)
    for route in refused:
        found[route.alias] = None if is_draining((route,)) else _refusal(route, winner, claims, rules)
    return HostResolution(kind=winner.kind, routes=winner.routes, refused=found)


def _may_stand_in(party: _Party, winner: _Party, held: Sequence[Holder]) -> bool:
    return party.kind != "above" and any(may_stand_in(route, winner.routes, held) for route in party.routes)


def _is_of(party: _Party, routes: Sequence[Route]) -> bool:
    return holder_of(party.routes[0]) in {holder_of(route) for route in routes}


def _pools(claims: HostClaims, rules: HostRules) -> tuple[list[_Party], list[Route]]:
    """Return the pool and the pools that wait to take over its name, and the routes that are in none of these.

    A sleeping container does not lead a pool while other members are awake.
    """
    waiting = sorted(claims.pooled, key=lambda route: (not is_open(route), rules.ranking.rank(route, claims.held)))
    parties: list[_Party] = []
    while waiting and len(parties) < _MAX_SUCCESSORS:
        leader = waiting[0]
        joined = [route for route in waiting if route is leader or _bar(route, leader, claims.name, rules) is None]
        parties.append(_Party("pool", tuple(joined)))
        chosen = {id(route) for route in joined}
        waiting = [route for route in waiting if id(route) not in chosen]
        if is_open(leader) and not is_draining(joined):
            break
    return parties, waiting


def route_claimant(route: Route) -> Claimant:
    """Return the claimant for a route. A file belongs to no Compose project."""
    if route.claimant is not None:
        return route.claimant
    project, service = route.service[1:] if len(route.service) == 3 else ("", "")
    engine = route.provider if route.is_static else route.provider.removesuffix("!")
    return Claimant(engine=engine, project=project, service=service, container=route.container)


def _bar(route: Route, leader: Route, name: str, rules: HostRules) -> tuple[str, str] | None:
    """Return why a route may not join a pool, and a remedy; ``None`` if it may join.

    Routes from files may always join, and so may further routes of the leader's own container or service.
    """
    claimant = route_claimant(route)
    free = route.is_static or holder_of(route) == holder_of(leader)
    verdict = None if free else rules.policy.may_join_pool(claimant, _link(name), route_claimant(leader))
    if verdict is None or verdict.allowed:
        return None
    return verdict.reason, verdict.hint if verdict.rule is not None else _join_hint(claimant, _link(name), rules.policy)


def _link(pool: str) -> str:
    """Return the ``load_balance.link`` of a pool. The name of a pool of tcp or udp routes begins with the scheme."""
    return pool.rpartition("/")[2]


def _refusal(route: Route, winner: _Party, claims: HostClaims, rules: HostRules) -> Problem:
    first, name = winner.routes[0], shorten(claims.name)
    pooled = route.pool_name == claims.name
    if pooled and winner.kind == "pool":
        reason, hint = _bar(route, first, claims.name, rules) or ("it came later", "")
        return _problem(route, f"cannot join the pool {name!r} of {name_of(first, route)}: {reason}", hint)
    who = name_of(first, route)
    if winner.kind == "pool":
        who = f"the pool of {who}"
    why = rules.ranking.why(first, route, claims.held)
    if winner.kind == "above":
        label = claims.name.partition(".")[0]
        why = f"whose alias {label!r} answers below this domain, too, and {why}"
        hint = "use another name, or list your domains in match_domains"
    else:
        hint = "use another name for one of them"
    return _problem(route, f"host {name!r} belongs to {who}, {why}; this route waits until the other is removed", hint)


def _problem(route: Route, message: str, hint: str) -> Problem:
    return Problem(
        message=message,
        hint=hint,
        provider="" if route.is_static else route.provider,
        container=route.container,
        route=route.alias,
        path="load_balance.link" if route.settings.load_balance.link else "",
        file=route.provider if route.is_static else "",
    )


_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def _join_hint(claimant: Claimant, pool: str, policy: Policy) -> str:
    """Return a hint with the line to add to the configuration to let a container join a pool."""
    pools = f"pools: [{_quoted(pool)}]"
    if (rule := policy.rule_for(claimant)) is not None:
        return f"choose another pool, or add {pools} to what {rule} allows"
    who = {"engine": claimant.engine, "project": claimant.project, "service": claimant.service}
    if not claimant.project:
        who["image"] = claimant.image
    if any(set(value) & set("*?{") for value in who.values()):  # in a rule, these would match other containers, too
        return "choose another pool"
    named = ", ".join(f"{key}: {_quoted(value)}" for key, value in who.items() if value)
    return f"choose another pool, or add to policy.rules: {{who: {{{named}}}, may: {{{pools}}}}}"


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else msgspec.json.encode(text).decode()


def lost_names(label: str, route: Route, lost: Mapping[str, Route]) -> Problem:
    """Return the problem that a short alias does not answer for some full names, because other routes hold them."""
    listed = [f"{shorten(name)} ({name_of(lost[name], route)})" for name in heapq.nsmallest(_MAX_LISTED, lost)]
    more = f" and {count(len(lost) - _MAX_LISTED, 'other name')}" if len(lost) > _MAX_LISTED else ""
    return Problem(
        message=f"alias {label!r} does not answer for full names that belong to others: {', '.join(listed)}{more}",
        hint="use another alias, or list your domains in match_domains",
        severity="warning",
        provider="" if route.is_static else route.provider,
        container=route.container,
        route=route.alias,
        file=route.provider if route.is_static else "",
    )
