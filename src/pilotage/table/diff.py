"""Computes the differences between two tables, as data. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec.structs import astuple

from pilotage.core.problems import Problem
from pilotage.core.text import format_duration
from pilotage.routes.route import Route
from pilotage.table.table import problem_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pilotage.routes.route import EndpointHealth
    from pilotage.table.table import ProblemKey, Table

__all__ = ["Change", "ChangeKind", "diff", "iter_diff"]

ChangeKind = Literal[
    "added",
    "updated",
    "draining",
    "removed",
    "health",
    "wakefulness",
    "stale",
    "live",
    "conflict",
    "problem",
    "resolved",
]


class Change(msgspec.Struct, frozen=True):
    """One difference between two tables.

    Attributes:
        kind: ``added``, ``updated`` or ``removed`` for a route; ``draining`` if the only change is that an endpoint
            started draining; ``health`` for new probe results; ``wakefulness`` for containers that sleep or wake;
            ``stale`` or ``live`` for an engine that cannot or can be reached; ``conflict`` or ``problem`` for a new
            problem; ``resolved`` for a problem that no longer exists.
        alias: the route's alias; ``""`` for engines and for problems that are not about one route.
        route: the route; if it was removed, its last state.
        fields: names of the changed :class:`~pilotage.Route` fields, for ``updated`` and ``draining``; ``("pool",)`` if
            only the order of the pool's members changed and the route now leads the pool.
        engine: name of the engine.
        problem: the problem, for ``conflict``, ``problem`` and ``resolved``.
        cause: the event that led to the change, e.g. ``start of web``, or the probe results; ``""`` if unknown.

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
    """Return the differences between two tables: those of engines first, then of routes by alias, then of problems.

    Args:
        old: the earlier table.
        new: the later table.
        aliases: alias -> cause of its change. Only these aliases are compared; by default, all aliases.
        keys: keys of problems. Only problems under these keys are compared; by default, all problems.

    """
    return tuple(iter_diff(old, new, aliases=aliases, keys=keys))


def iter_diff(
    old: Table,
    new: Table,
    *,
    aliases: Mapping[str, str] | None = None,
    keys: Iterable[ProblemKey] | None = None,
) -> Iterator[Change]:
    """Yield the changes that :func:`diff` returns, for callers that pause between parts of a large result."""
    yield from _engine_changes(old, new)
    compared = aliases if aliases is not None else dict.fromkeys({*old.routes, *new.routes}, "")
    for alias in sorted(compared):
        change = _route_change(alias, old.routes.get(alias), new.routes.get(alias), compared[alias])
        change = change or _order_change(alias, old, new, compared[alias])
        if change is not None:
            yield change
        for change in (_health_change(alias, old, new), _wakefulness_change(alias, old, new)):
            if change is not None:
                yield change
    for key in sorted(keys if keys is not None else {*old.problems_by_key, *new.problems_by_key}):
        yield from _problem_changes(key, old.problems_by_key.get(key, ()), new.problems_by_key.get(key, ()))


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
    values = zip(Route.__struct_fields__, astuple(before), astuple(now), strict=True)
    fields = tuple(name for name, was, value in values if was != value)
    kind: ChangeKind = "draining" if fields == ("endpoints",) and _newly_draining(before, now) else "updated"
    return Change(kind, alias, now, fields, engine=now.provider, cause=cause)


def _order_change(alias: str, old: Table, new: Table, cause: str) -> Change | None:
    """Return a change if a pool's order changed and this alias now leads the pool; otherwise ``None``."""
    route = new.routes.get(alias)
    pool = route.pool if route is not None else ""
    before, now = old.pool_members.get(pool, ()), new.pool_members.get(pool, ())
    if route is None or before is now or not now or now[0] != alias:
        return None
    if [member for member in before if member in now] == [member for member in now if member in before]:
        return None  # routes that joined or left a pool are reported as changed themselves
    return Change("updated", alias, route, ("pool",), engine=route.provider, cause=cause)


def _health_change(alias: str, old: Table, new: Table) -> Change | None:
    """Return a change if probe results changed. New and removed endpoints are not included: they change the route."""
    before, now, route = old.health_of(alias), new.health_of(alias), new.routes.get(alias)
    if before is now or route is None:
        return None
    found = []
    for endpoint in route.endpoints:
        known, health = before.get(endpoint.address), now.get(endpoint.address)
        if health is None or health.state == (known.state if known is not None else "pending"):
            continue
        name = f"{endpoint.container} at {endpoint.address}" if endpoint.container else endpoint.address
        found.append(f"{name} {_describe(known, health)}")
    more = f"; and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
    return (
        Change("health", alias, route, engine=route.provider, cause="; ".join(found[:_MAX_LISTED]) + more)
        if found
        else None
    )


def _wakefulness_change(alias: str, old: Table, new: Table) -> Change | None:
    """Return a change if the containers of a route fall asleep, wake up, or could not be woken."""
    before, now, route = old.wakefulness.get(alias), new.wakefulness.get(alias), new.routes.get(alias)
    if route is None or now is None or now == before:
        return None
    if before is None and now.state in ("asleep", "ready"):
        return None
    took = now.last_wake if before is not None and before.state == "waking" and now.state == "ready" else None
    cause = now.remark if took is None else f"{now.remark} after {format_duration(took)}"
    return Change("wakefulness", alias, route, engine=route.provider, cause=cause)


_MAX_LISTED: Final = 3


def _describe(known: EndpointHealth | None, health: EndpointHealth) -> str:
    if health.state == "pending":
        return "is being probed again because Envoy restarted"
    again = " again" if health.state == "healthy" and known is not None and known.state == "unhealthy" else ""
    return health.remark + again


def _newly_draining(before: Route, now: Route) -> bool:
    known = {endpoint.container_id: endpoint.state for endpoint in before.endpoints}
    return any(e.state == "draining" and known.get(e.container_id, "draining") != "draining" for e in now.endpoints)


def _problem_changes(key: ProblemKey, before: Iterable[Problem], now: Iterable[Problem]) -> Iterator[Change]:
    old, new = set(before), set(now)
    for problem in sorted(new - old, key=problem_order):
        kind: ChangeKind = "problem" if key[0] else "conflict"
        yield Change(kind, problem.route, engine=problem.provider, problem=problem)
    for problem in sorted(old - new, key=problem_order):
        yield Change("resolved", problem.route, engine=problem.provider, problem=problem)
