"""Keeps a table true while single containers change: the cost of a change does not grow with their number. Pure.

A ledger is the one mutable thing between engines and tables. It remembers who claims which alias, settles only the
aliases that a change touches, and hands out immutable tables that share everything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from immutables import Map

from pilotage.routes.build import Built
from pilotage.table import EngineStatus, Table, settle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.problems import Problem
    from pilotage.roster import Roster
    from pilotage.routes.route import Route
    from pilotage.routes.static import RouteFile
    from pilotage.table import ProblemKey

__all__ = ["Ledger", "build_table"]

Claimant = tuple[str, str]
"""``(engine, container id)``; for routes from files ``(name of the file provider, alias)``."""


class Settlement(NamedTuple):
    """What came of settling.

    Attributes:
        table: the table now; the very one from before if nothing changed.
        aliases: alias -> cause, for every alias that was decided anew.
        keys: whose problems changed.

    """

    table: Table
    aliases: dict[str, str]
    keys: set[ProblemKey]


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
        keys, self._reported = self._reported, set()
        old = self._table
        if touched or keys or self._engines is not old.engines:
            self._table = Table(self._routes, self._faults, self._engines, old.version + 1)
        return Settlement(self._table, touched, keys)


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
