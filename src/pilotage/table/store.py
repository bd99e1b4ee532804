"""Keeps a table true while single containers change: the cost of a change does not grow with their number. Pure.

A ledger is the one mutable thing between engines and tables. It remembers who claims which alias, settles only the
aliases that a change touches, and hands out immutable tables that share everything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from immutables import Map

from pilotage.routes.build import Built
from pilotage.table.table import EngineStatus, Table, settle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.core.problems import Problem
    from pilotage.routes.file import RouteFile
    from pilotage.routes.route import EndpointHealth, Route
    from pilotage.table.snapshot import Roster
    from pilotage.table.table import ProblemKey

__all__ = ["Ledger", "build_table"]

Claimant = tuple[str, str]
"""``(engine, container id)``; for routes from files ``(name of the file provider, alias)``."""


class Settlement(NamedTuple):
    """What came of settling.

    Attributes:
        table: the table now; the very one from before if nothing changed.
        aliases: alias -> cause, for every alias that was decided anew.
        keys: whose problems changed.
        observed: aliases about whose endpoints probes found something else.

    """

    table: Table
    aliases: dict[str, str]
    keys: set[ProblemKey]
    observed: set[str]


class Ledger:
    """Claims of all containers of all engines, and the table that follows from them."""

    def __init__(self) -> None:
        self._claims: dict[str, dict[Claimant, Route]] = {}
        self._aliases: dict[Claimant, tuple[str, ...]] = {}
        self._touched: dict[str, str] = {}
        self._reported: set[ProblemKey] = set()
        self._routes: Map[str, Route] = Map()
        self._faults: Map[ProblemKey, tuple[Problem, ...]] = Map()
        self._engines: Map[str, EngineStatus] = Map()
        self._health: Map[str, Mapping[str, EndpointHealth]] = Map()
        self._observed: set[str] = set()
        self._table = Table()

    @property
    def table(self) -> Table:
        """The table as it was last settled."""
        return self._table

    def put(self, claimant: Claimant, built: Built | None, cause: str = "") -> None:
        """Record what came of a container; ``None``: it is gone. Takes effect with the next :meth:`settle`."""
        routes = {route.alias: route for route in built.routes} if built is not None else {}
        for alias in self._aliases.pop(claimant, ()):
            if alias not in routes:
                claims = self._claims[alias]
                del claims[claimant]
                if not claims:
                    del self._claims[alias]
                self._touched[alias] = cause
        for alias, route in routes.items():
            claims = self._claims.setdefault(alias, {})
            if claims.get(claimant) != route:
                claims[claimant] = route
                self._touched[alias] = cause
        if routes:
            self._aliases[claimant] = tuple(routes)
        self.report(claimant, built.problems if built is not None else ())

    def report(self, key: ProblemKey, problems: Iterable[Problem]) -> None:
        """Record what is wrong with somebody; nothing: all is well."""
        found = tuple(problems)
        if found == self._faults.get(key, ()):
            return
        self._faults = self._faults.set(key, found) if found else self._faults.delete(key)
        self._reported.add(key)

    def engine(self, name: str, status: EngineStatus | None) -> None:
        """Record how an engine is; ``None`` forgets it."""
        if status is not None:
            if self._engines.get(name) != status:
                self._engines = self._engines.set(name, status)
        elif name in self._engines:
            self._engines = self._engines.delete(name)

    def status(self, name: str) -> EngineStatus | None:
        """Return how an engine is, ``None`` for an unknown one."""
        return self._engines.get(name)

    def observe(self, alias: str, health: Mapping[str, EndpointHealth]) -> None:
        """Record what probes found about the endpoints of an alias, by address; nothing: they are not probed.

        What is about no endpoint of its route, as it was last settled, is left out.
        """
        route = self._routes.get(alias)
        known = {endpoint.address for endpoint in route.endpoints} if route is not None else set()
        self._keep(alias, {address: found for address, found in health.items() if address in known})

    def _keep(self, alias: str, health: Mapping[str, EndpointHealth]) -> None:
        if health == self._health.get(alias, {}):
            return
        self._health = self._health.set(alias, health) if health else self._health.delete(alias)
        self._observed.add(alias)

    def settle(self) -> Settlement:
        """Decide every alias whose claims changed, and make the table of it."""
        touched, self._touched = self._touched, {}
        if touched:
            with self._routes.mutate() as changing:
                for alias in touched:
                    claims = self._claims.get(alias)
                    if claims is None:
                        changing.pop(alias, None)
                        self.report(("", alias), ())
                        continue
                    settled = settle(list(claims.values()))
                    changing[alias] = settled.route
                    self.report(("", alias), settled.problems)
                self._routes = changing.finish()
            for alias in touched:
                if alias in self._health:
                    self._forget_gone(alias)
        keys, self._reported = self._reported, set()
        observed, self._observed = self._observed, set()
        old = self._table
        if touched or keys or observed or self._engines is not old.engines:
            self._table = Table(self._routes, self._faults, self._engines, old.version + 1, self._health)
        return Settlement(self._table, touched, keys, observed)

    def _forget_gone(self, alias: str) -> None:
        """Forget what probes found about endpoints that are no more; another container's at the same address is new."""
        before, now = _places(self._table.routes.get(alias)), _places(self._routes.get(alias))
        stayed = {address for address, _ in before & now}
        self._keep(alias, {address: found for address, found in self._health[alias].items() if address in stayed})


def _places(route: Route | None) -> set[tuple[str, str]]:
    return {(endpoint.address, endpoint.container_id) for endpoint in route.endpoints} if route is not None else set()


def build_table(rosters: Iterable[Roster], files: Iterable[RouteFile] = ()) -> Table:
    """Bring the routes of all engines, and of files, together, once."""
    ledger = Ledger()
    for file in files:
        ledger.report((file.name, ""), file.problems)
        for route in file.routes:
            ledger.put((file.name, route.alias), Built((route,), route.problems))
    for roster in rosters:
        name = roster.config.name
        ledger.engine(name, EngineStatus("live"))
        ledger.report((name, ""), roster.problems)
        for index, (container, built) in enumerate(zip(roster.containers, roster.built, strict=True)):
            ledger.put((name, container.container_id or f"#{index}"), built)
    return ledger.settle().table
