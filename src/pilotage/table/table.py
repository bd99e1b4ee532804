"""Defines the route table: one route per alias, from all engines and files together. Pure and immutable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from immutables import Map

from pilotage.core.problems import Problem
from pilotage.routes.route import EndpointHealth, Route
from pilotage.table.self_signed import SelfSigned
from pilotage.table.wakefulness import Wakefulness

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EngineStatus", "ProblemKey", "Table", "problem_order"]

ProblemKey = tuple[str, str]
"""The subject of a problem.

The keys are ``(engine, container ID)`` and ``(engine, "")``; ``(file, alias)`` and ``(file, "")`` for route files;
``("", name)`` for conflicts about an alias or the name of a pool; ``("", "")`` for problems outside the table, in a
daemon's snapshot.
"""


_UNPROBED: Final[Mapping[str, EndpointHealth]] = Map()


class EngineStatus(msgspec.Struct, frozen=True):
    """Whether the routes of an engine are current.

    Attributes:
        state: ``pending`` before the first list, then ``live``, or ``stale`` while the engine is unreachable and its
            last good routes are kept.
        since: when the engine entered this state, in seconds since 1970.
        error: why the engine is unreachable; ``""`` while ``live``.

    """

    state: Literal["pending", "live", "stale"]
    since: float = 0.0
    error: str = ""


class Table(msgspec.Struct, frozen=True, eq=False):
    """Every alias and its route at one moment.

    A table never changes. Successive tables share their unchanged parts, so the cost of a change does not depend on
    the number of containers.

    Attributes:
        routes: alias -> route, including excluded routes, in no particular order; :meth:`sorted_routes` sorts them.
        problems_by_key: key (what the problems are about) -> the problems.
        engines: name -> status.
        health: alias -> endpoint address -> result of the gateway's probes, for the endpoints that the gateway probes.
            These results do not affect the routes; the gateway itself decides where to send requests.
        version: incremented by each change; 0 is the empty table.
        pool_members: name of a pool (``load_balance.link``) -> aliases of the routes that serve it, the leader first.
        engine_order: names of the engines in their configured order.
        wakefulness: alias -> whether its containers are awake, for each alias whose containers a daemon puts to sleep.
        self_signed: alias -> its host names that have only a self-signed certificate so far. Empty except in a daemon's
            responses.

    """

    routes: Mapping[str, Route] = Map()
    problems_by_key: Mapping[ProblemKey, tuple[Problem, ...]] = Map()
    engines: Mapping[str, EngineStatus] = Map()
    version: int = 0
    health: Mapping[str, Mapping[str, EndpointHealth]] = Map()
    pool_members: Mapping[str, tuple[str, ...]] = Map()
    engine_order: tuple[str, ...] = ()
    wakefulness: Mapping[str, Wakefulness] = Map()
    self_signed: Mapping[str, SelfSigned] = Map()

    def health_of(self, alias: str) -> Mapping[str, EndpointHealth]:
        """Return endpoint address -> probe result for an alias; empty if the gateway probes no endpoint."""
        return self.health.get(alias, _UNPROBED)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, in a stable order."""
        return tuple(sorted((p for found in self.problems_by_key.values() for p in found), key=problem_order))

    def sorted_routes(self) -> Iterator[Route]:
        """Yield all routes, sorted by alias."""
        return (self.routes[alias] for alias in sorted(self.routes))

    def stale_since(self, route: Route) -> float | None:
        """Return when the route's engine became unreachable, in seconds since 1970; ``None`` if it is reachable."""
        status = self.engines.get(route.provider)
        return status.since if status is not None and status.state == "stale" else None

    def pools(self) -> dict[str, tuple[str, ...]]:
        """Return, for each pool, the aliases of its members, the leader first."""
        return {name: self.pool_members[name] for name in sorted(self.pool_members)}

    def __repr__(self) -> str:
        away = [name for name, status in self.engines.items() if status.state == "stale"]
        stale = f", stale: {', '.join(sorted(away))}" if away else ""
        return f"<Table version {self.version}: {len(self.routes)} routes of {len(self.engines)} engines{stale}>"


def problem_order(problem: Problem) -> tuple[str, str, str, str, int, int, str, str]:
    """Return the sort key of a problem: place first, then message."""
    p = problem
    return (p.provider, p.container, p.label, p.route, p.line, p.column, p.path, p.message)
