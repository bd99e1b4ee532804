"""5. The table: which route answers for each alias, of all engines together. Pure, immutable, versioned.

One alias belongs to one container, or to the replicas of one compose service; who else wants it is a reported conflict
(decision 23). Excluded routes never compete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from immutables import Map

from pilotage.core.problems import Problem
from pilotage.routes.route import EndpointHealth, Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Change", "ChangeKind", "EngineStatus", "Settled", "Table", "diff", "settle"]

ProblemKey = tuple[str, str]
"""Whose problems: ``(engine, container id)``, ``(engine, "")``, or ``("", alias)`` for conflicts."""


_UNPROBED: Final[Mapping[str, EndpointHealth]] = Map()


class EngineStatus(msgspec.Struct, frozen=True):
    """How true the routes of one engine are.

    Attributes:
        state: ``pending`` before its first list; ``live``; ``stale`` while it is away and its last good routes stand.
        since: since when, seconds since 1970.
        error: what failed, for people; ``""`` while it is live.

    """

    state: Literal["pending", "live", "stale"]
    since: float = 0.0
    error: str = ""


class Table(msgspec.Struct, frozen=True, eq=False):
    """Every alias and its route, at one moment.

    A table never changes. Two tables of one discovery share what is equal in them, so a change of one container costs
    the same however many there are.

    Attributes:
        routes: alias -> route, excluded ones too; iterate :meth:`sorted_routes` for a stable order.
        faults: whose -> what is wrong with it.
        engines: name -> status.
        health: alias -> address of an endpoint -> what the gateway's probes have found; only for endpoints that it
            probes. It says nothing about where requests go: whoever probes knows that first.
        version: grows by one with each change; 0 is the empty table.

    """

    routes: Mapping[str, Route] = Map()
    faults: Mapping[ProblemKey, tuple[Problem, ...]] = Map()
    engines: Mapping[str, EngineStatus] = Map()
    version: int = 0
    health: Mapping[str, Mapping[str, EndpointHealth]] = Map()

    def health_of(self, alias: str) -> Mapping[str, EndpointHealth]:
        """Return what probes have found about an alias's endpoints, by address; empty where nothing is probed."""
        return self.health.get(alias, _UNPROBED)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong anywhere, by engine, container and label, so that it is always the same."""
        return tuple(sorted((p for found in self.faults.values() for p in found), key=_order))

    def sorted_routes(self) -> Iterator[Route]:
        """Yield all routes, by alias."""
        return (self.routes[alias] for alias in sorted(self.routes))

    def stale_since(self, route: Route) -> float | None:
        """Return since when the route's engine is away (seconds since 1970), ``None`` while it is there."""
        status = self.engines.get(route.provider)
        return status.since if status is not None and status.state == "stale" else None

    def pools(self) -> dict[str, tuple[str, ...]]:
        """Return each pool's name (``load_balance.link``) and the aliases of its served members."""
        found: dict[str, list[str]] = {}
        for route in self.sorted_routes():
            link = route.settings.load_balance.link
            if link and not route.excluded:
                found.setdefault(link, []).append(route.alias)
        return {link: tuple(found[link]) for link in sorted(found)}

    def __repr__(self) -> str:
        away = [name for name, status in self.engines.items() if status.state == "stale"]
        stale = f", stale: {', '.join(sorted(away))}" if away else ""
        return f"<Table version {self.version}: {len(self.routes)} routes of {len(self.engines)} engines{stale}>"


def _order(problem: Problem) -> tuple[str, str, str, str, int, int, str, str]:
    p = problem
    return (p.provider, p.container, p.label, p.route, p.line, p.column, p.path, p.message)


# ---- who gets an alias ---------------------------------------------------------------------------------------------


class Settled(msgspec.Struct, frozen=True):
    """Who got an alias.

    Attributes:
        route: the route; of replicas, one with all their endpoints.
        problems: one for each container that wants the alias in vain.

    """

    route: Route
    problems: tuple[Problem, ...] = ()


def settle(claims: Sequence[Route]) -> Settled:
    """Decide between the routes that claim one alias.

    A route from a file comes before those of containers. Of these the oldest routable one keeps it, by creation time,
    then name, then engine. Replicas of its compose service join it with their endpoints. When it goes, the next one
    takes over by itself; one that is ready does so as soon as nobody but those about to stop is left.

    Args:
        claims: at least one route, all with the same alias, in any order.

    """
    if len(claims) == 1:
        return Settled(claims[0])
    served = [route for route in claims if not route.excluded]
    awake = sorted((route for route in served if route.endpoints or route.scheme == "fileserver"), key=_age)
    if not awake:  # a sleeping container answers for its alias only while nobody else does
        return Settled(min(served or claims, key=_age))
    incumbent = _incumbent(awake)
    replicas, problems = [incumbent], []
    for route in awake:
        if route is incumbent:
            continue
        if _is_replica(route, incumbent):
            replicas.append(route)
        elif not _is_leaving(route):
            problems.append(_conflict(route, incumbent))
    if len(replicas) > 1:
        endpoints = tuple(endpoint for route in replicas for endpoint in route.endpoints)
        incumbent = msgspec.structs.replace(incumbent, endpoints=endpoints)
    if len(awake) > len(replicas) and not incumbent.is_static:
        incumbent = msgspec.structs.replace(incumbent, contested=True)
    return Settled(incumbent, tuple(problems))


def _incumbent(awake: Sequence[Route]) -> Route:
    """Return the oldest route, or who takes over from it and its replicas when they are about to stop."""
    oldest = awake[0]
    if not all(_is_leaving(route) for route in awake if route is oldest or _is_replica(route, oldest)):
        return oldest
    return next((route for route in awake if any(e.state == "ready" for e in route.endpoints)), oldest)


def _is_leaving(route: Route) -> bool:
    return bool(route.endpoints) and all(endpoint.state == "draining" for endpoint in route.endpoints)


def _age(route: Route) -> tuple[int, str, str, str]:
    return (route.created, route.container, route.provider, route.container_id)


def _is_replica(route: Route, of: Route) -> bool:
    return bool(of.service) and route.service == of.service and route.scheme == of.scheme


def _conflict(route: Route, incumbent: Route) -> Problem:
    if incumbent.is_static:
        return _conflict_with_file(route, incumbent.provider)
    elsewhere = incumbent.provider != route.provider
    holder = f"{incumbent.provider}/{incumbent.container}" if elsewhere else incumbent.container
    return Problem(
        message=f"alias {route.alias!r} belongs to {holder}, which is older; this one waits until it goes",
        hint="give one of them another alias with proxy.aliases",
        provider=route.provider,
        container=route.container,
        route=route.alias,
    )


def _conflict_with_file(route: Route, file: str) -> Problem:
    why = "which comes first by name" if route.is_static else "and files come before containers"
    other = "another name" if route.is_static else "another alias with proxy.aliases"
    return Problem(
        message=f"alias {route.alias!r} belongs to the file {file}, {why}; this one waits until it goes",
        hint=f"remove one of them, or give it {other}",
        provider="" if route.is_static else route.provider,
        container=route.container,
        route=route.alias,
        file=route.provider if route.is_static else "",
    )


# ---- what changed --------------------------------------------------------------------------------------------------

ChangeKind = Literal[
    "added", "updated", "draining", "removed", "health", "stale", "live", "conflict", "problem", "resolved"
]


class Change(msgspec.Struct, frozen=True):
    """One difference between two tables.

    Attributes:
        kind: ``added``, ``updated``, ``removed``: a route; ``draining``: an endpoint of it is about to stop and
            nothing else changed; ``health``: the gateway's probes found something else about its endpoints;
            ``stale``, ``live``: an engine went or came back; ``conflict``, ``problem``: something is wrong now;
            ``resolved``: it no longer is.
        alias: the route's alias; ``""`` for engines, and for problems that are not about one route.
        route: the route now, or as it last was.
        fields: what differs, for ``updated`` and ``draining``: names of :class:`~pilotage.Route` fields.
        engine: name of the engine.
        problem: for ``conflict``, ``problem`` and ``resolved``.
        cause: the event behind it, such as ``start of web``, or what the probes found; ``""`` when it is not known.

    """

    kind: ChangeKind
    alias: str = ""
    route: Route | None = None
    fields: tuple[str, ...] = ()
    engine: str = ""
    problem: Problem | None = None
    cause: str = ""


def diff(
    old: Table,
    new: Table,
    *,
    aliases: Mapping[str, str] | None = None,
    keys: Iterable[ProblemKey] | None = None,
) -> tuple[Change, ...]:
    """Return what changed between two tables: engines first, then routes by alias, then problems.

    Args:
        old: the table before.
        new: the table after.
        aliases: which aliases to look at, each with the cause of its change; all by default.
        keys: whose problems to look at; everybody's by default.

    """
    changes = [*_engine_changes(old, new)]
    looked_at = aliases if aliases is not None else dict.fromkeys({*old.routes, *new.routes}, "")
    for alias in sorted(looked_at):
        change = _route_change(alias, old.routes.get(alias), new.routes.get(alias), looked_at[alias])
        if change is not None:
            changes.append(change)
        change = _health_change(alias, old, new)
        if change is not None:
            changes.append(change)
    for key in sorted(keys if keys is not None else {*old.faults, *new.faults}):
        changes += _problem_changes(key, old.faults.get(key, ()), new.faults.get(key, ()))
    return tuple(changes)


def _engine_changes(old: Table, new: Table) -> Iterator[Change]:
    if old.engines is new.engines:
        return
    for name in sorted({*old.engines, *new.engines}):
        before, now = old.engines.get(name), new.engines.get(name)
        state = now.state if now is not None else None
        if state == (before.state if before is not None else None):
            continue
        if state == "stale" and now is not None:
            yield Change("stale", engine=name, cause=now.error)
        elif state == "live":
            yield Change("live", engine=name)


def _route_change(alias: str, before: Route | None, now: Route | None, cause: str) -> Change | None:
    if before is None:
        return None if now is None else Change("added", alias, now, engine=now.provider, cause=cause)
    if now is None:
        return Change("removed", alias, before, engine=before.provider, cause=cause)
    if now is before or now == before:
        return None
    fields = tuple(name for name in Route.__struct_fields__ if getattr(before, name) != getattr(now, name))
    kind: ChangeKind = "draining" if fields == ("endpoints",) and _newly_draining(before, now) else "updated"
    return Change(kind, alias, now, fields, engine=now.provider, cause=cause)


def _health_change(alias: str, old: Table, new: Table) -> Change | None:
    """Tell what probes found out; that an endpoint is new or gone is told with its route."""
    before, now, route = old.health_of(alias), new.health_of(alias), new.routes.get(alias)
    if before is now or route is None:
        return None
    found = []
    for endpoint in route.endpoints:
        known, health = before.get(endpoint.address), now.get(endpoint.address)
        if health is None or health.state == (known.state if known is not None else "pending"):
            continue
        name = f"{endpoint.container} at {endpoint.address}" if endpoint.container else endpoint.address
        found.append(f"{name} {_found(known, health)}")
    more = f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return (
        Change("health", alias, route, engine=route.provider, cause="; ".join(found[:_TOLD]) + more) if found else None
    )


_TOLD: Final = 3


def _found(known: EndpointHealth | None, health: EndpointHealth) -> str:
    if health.state == "pending":
        return "is probed anew, for Envoy was started again"
    again = " again" if health.state == "healthy" and known is not None and known.state == "unhealthy" else ""
    return health.remark + again


def _newly_draining(before: Route, now: Route) -> bool:
    known = {endpoint.container_id: endpoint.state for endpoint in before.endpoints}
    return any(e.state == "draining" and known.get(e.container_id, "draining") != "draining" for e in now.endpoints)


def _problem_changes(key: ProblemKey, before: Iterable[Problem], now: Iterable[Problem]) -> Iterator[Change]:
    old, new = set(before), set(now)
    for problem in sorted(new - old, key=_order):
        kind: ChangeKind = "problem" if key[0] else "conflict"
        yield Change(kind, problem.route, engine=problem.provider, problem=problem)
    for problem in sorted(old - new, key=_order):
        yield Change("resolved", problem.route, engine=problem.provider, problem=problem)
