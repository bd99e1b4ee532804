"""Updates the table after changes to single containers. Pure.

The store is the only mutable object between engines and tables. The store remembers which containers claim which names,
resolves only the names that a change affects, and returns immutable tables that share their unchanged parts. The cost
of a change does not depend on the number of containers.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from immutables import Map

from pilotage.routes.build import Built
from pilotage.table.names import Names, Owner, Resolved
from pilotage.table.reserved import ReservedNames
from pilotage.table.table import EngineStatus, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pilotage.core.problems import Problem
    from pilotage.policy import Policy
    from pilotage.routes.file import RouteFile
    from pilotage.routes.route import EndpointHealth, Route
    from pilotage.table.reserved import HeldName
    from pilotage.table.snapshot import EngineSnapshot
    from pilotage.table.table import ProblemKey
    from pilotage.table.wakefulness import Wakefulness

__all__ = ["RouteStore", "build_table"]

_BATCH: Final = 500  # routes put into the maps before other tasks get a turn
_DONE: Final = object()


class CommitResult(NamedTuple):
    """The result of a commit.

    Attributes:
        table: the current table; the same object as before if nothing changed.
        aliases: alias -> cause of the change, for each alias that was resolved.
        problem_keys: keys of the problems that changed.
        health_aliases: aliases whose endpoint health or wakefulness changed.

    """

    table: Table
    aliases: dict[str, str]
    problem_keys: set[ProblemKey]
    health_aliases: set[str]


class RouteStore:
    """The claims of all containers and files, and the table that results from them."""

    def __init__(self) -> None:
        self._names = Names()
        self._incomplete: set[str] = set()
        self._work: Iterator[None] | None = None  # work for the next commit
        self._changed_aliases: dict[str, str] = {}
        self._reserved: ReservedNames | None = None
        self._changed_problems: set[ProblemKey] = set()
        self._changed_health: set[str] = set()
        self._routes: Map[str, Route] = Map()
        self._problems: Map[ProblemKey, tuple[Problem, ...]] = Map()
        self._engines: Map[str, EngineStatus] = Map()
        self._health: Map[str, Mapping[str, EndpointHealth]] = Map()
        self._pools: Map[str, tuple[str, ...]] = Map()
        self._wakefulness: Map[str, Wakefulness] = Map()
        self._table = Table()

    @property
    def table(self) -> Table:
        """The table as of the last commit."""
        return self._table

    def set_routes(self, owner: Owner, built: Built | None, cause: str = "") -> None:
        """Replace an owner's routes and problems. :meth:`commit` applies the change.

        Args:
            owner: the container or file route.
            built: the owner's routes and problems; ``None`` removes the owner.
            cause: the event that led to the change, e.g. ``start of web``.

        """
        if self._reserved is not None:
            built = self._reserved.filter(owner, built, cause, self._names.domains)
        routes = {route.alias: route for route in built.routes} if built is not None else {}
        self._names.set_claims(owner, routes, cause)
        self.set_problems(owner, built.problems if built is not None else ())

    def configure(self, *, engines: Iterable[str] | None = None, policy: Policy | None = None) -> None:
        """Change the given rules for choosing between claims. :meth:`commit` applies the change.

        Args:
            engines: names of the engines in their configured order.
            policy: what containers may claim, and the domains under which aliases are served.

        """
        self._names.configure(engines=engines, policy=policy)

    def keep_holders(self) -> None:
        """Let each holder of a name keep it from now on, for as long as its container exists.

        Call this before the first table is used to serve clients. Until then, the table depends only on the containers,
        not on the order in which engines are listed and events arrive.
        """
        self._names.keep()

    def reserve(self, held: Mapping[str, HeldName], engines: Iterable[str]) -> None:
        """Reserve names until their previous holders' engines have been listed. Call this before the first list.

        Args:
            held: alias, or name of a pool -> who held it when the daemon last ran.
            engines: names of the watched engines. Names that containers on other engines held are not reserved.

        """
        self._reserved = ReservedNames(held, engines)

    def release(self, engine: str) -> None:
        """Free the names that are reserved for an engine, because it has been listed or is no longer watched."""
        if self._reserved is not None:
            for owner, (built, cause) in self._reserved.release(engine).items():
                self.set_routes(owner, built, cause)

    @property
    def reserved(self) -> Mapping[str, HeldName]:
        """The names that are reserved for engines that have not been listed yet."""
        return self._reserved.held if self._reserved is not None else {}

    def rename_engine(self, old: str, new: str) -> None:
        """Let an engine's containers keep their names when the engine is renamed."""
        self._names.rename_engine(old, new)
        if self._reserved is not None:
            self._reserved.rename(old, new)

    def set_problems(self, key: ProblemKey, problems: Iterable[Problem]) -> None:
        """Replace the problems recorded under a key."""
        found = tuple(problems)
        if found == self._problems.get(key, ()):
            return
        self._problems = self._problems.set(key, found) if found else self._problems.delete(key)
        self._changed_problems.add(key)

    def set_engine(self, name: str, status: EngineStatus | None) -> None:
        """Set the status of an engine; ``None`` removes the engine."""
        if status is not None:
            if self._engines.get(name) != status:
                self._engines = self._engines.set(name, status)
        elif name in self._engines:
            self._engines = self._engines.delete(name)

    def engine(self, name: str) -> EngineStatus | None:
        """Return the status of an engine; ``None`` if the engine is unknown."""
        return self._engines.get(name)

    def set_health(self, alias: str, health: Mapping[str, EndpointHealth]) -> None:
        """Replace the probe results of an alias.

        Args:
            alias: alias of the route.
            health: endpoint address -> health; empty if no endpoint is probed. Addresses that are not endpoints of the
                committed route are ignored.

        """
        route = self._routes.get(alias)
        known = {endpoint.address for endpoint in route.endpoints} if route is not None else set()
        self._replace_health(alias, {address: found for address, found in health.items() if address in known})

    def set_wakefulness(self, alias: str, wakefulness: Wakefulness | None) -> None:
        """Record whether the containers of an alias are awake; ``None`` if these containers never sleep."""
        if wakefulness == self._wakefulness.get(alias):
            return
        known = self._wakefulness
        self._wakefulness = known.delete(alias) if wakefulness is None else known.set(alias, wakefulness)
        self._changed_health.add(alias)

    def _replace_health(self, alias: str, health: Mapping[str, EndpointHealth]) -> None:
        if health == self._health.get(alias, {}):
            return
        self._health = self._health.set(alias, health) if health else self._health.delete(alias)
        self._changed_health.add(alias)

    def set_incomplete(self, engine: str, *, incomplete: bool) -> None:
        """Record whether more changes from an engine's list follow. The table stays as it is until all have arrived."""
        (self._incomplete.add if incomplete else self._incomplete.discard)(engine)

    def prepare(self, engine: str) -> bool:
        """Do part of the work of the next commit, for a few milliseconds. The table stays as it is.

        Args:
            engine: the engine that calls this. Nothing is done while changes from other engines are incomplete, because
                the order in which changes arrive must not decide who gets a name.

        Returns:
            Whether :meth:`commit` has more work that :meth:`prepare` could do.

        """
        return not self._incomplete - {engine} and self._do_part()

    def settle(self) -> None:
        """Decide who holds each name whose claims have changed. The table stays as it is."""
        while self._do_part():
            pass

    def _do_part(self) -> bool:
        if self._work is None:
            if not self._names.has_changed:
                return False
            self._work = self._apply_changes()
        if next(self._work, _DONE) is _DONE:
            self._work = None
        return self._work is not None or self._names.has_changed

    def _apply_changes(self) -> Iterator[None]:
        """Resolve every name whose claims changed, and put the result into the maps of the next table."""
        resolved = Resolved()
        for resolved in self._names.resolve():  # noqa: B007
            yield
        self._changed_aliases |= resolved.causes
        items = iter(resolved.routes.items())
        while batch := tuple(islice(items, _BATCH)):
            with self._routes.mutate() as changing:
                for alias, route in batch:
                    if route is None:
                        changing.pop(alias, None)
                    else:
                        changing[alias] = route
                self._routes = changing.finish()
            for alias, _ in batch:
                self.set_problems(("", alias), resolved.problems[alias])
                if alias in self._health:
                    self._drop_stale_health(alias)
            yield
        for pool, members in resolved.pools.items():
            self._pools = self._pools.set(pool, members) if members else self._pools.delete(pool)

    def commit(self) -> CommitResult:
        """Resolve every name whose claims changed and return the resulting table.

        While the changes from any engine are incomplete, the table stays as it is.
        """
        if self._incomplete:
            return CommitResult(self._table, {}, set(), set())
        self.settle()
        touched, self._changed_aliases = self._changed_aliases, {}
        problem_keys, self._changed_problems = self._changed_problems, set()
        health_aliases, self._changed_health = self._changed_health, set()
        old, order = self._table, self._names.engines
        if touched or problem_keys or health_aliases or self._engines is not old.engines or order != old.engine_order:
            self._table = Table(
                *(self._routes, self._problems, self._engines, old.version + 1, self._health, self._pools, order),
                self._wakefulness,
            )
        return CommitResult(self._table, touched, problem_keys, health_aliases)

    def _drop_stale_health(self, alias: str) -> None:
        """Drop probe results of removed endpoints, also if another container now has the same address."""
        before, now = _endpoints(self._table.routes.get(alias)), _endpoints(self._routes.get(alias))
        kept = {address for address, _ in before & now}
        self._replace_health(
            alias, {address: found for address, found in self._health[alias].items() if address in kept}
        )


def _endpoints(route: Route | None) -> set[tuple[str, str]]:
    return {(endpoint.address, endpoint.container_id) for endpoint in route.endpoints} if route is not None else set()


def build_table(
    snapshots: Iterable[EngineSnapshot], files: Iterable[RouteFile] = (), *, policy: Policy | None = None
) -> Table:
    """Build the table for some engines and route files.

    Args:
        snapshots: the engines in their configured order.
        files: the route files.
        policy: what containers may claim, and the domains under which aliases are served; by default, the built-in
            limits and any domain.

    """
    store = RouteStore()
    for file in files:
        store.set_problems((file.name, ""), file.problems)
        for route in file.routes:
            store.set_routes((file.name, route.alias), Built((route,), route.problems))
    found = tuple(snapshots)
    store.configure(engines=(snapshot.config.name for snapshot in found), policy=policy)
    for snapshot in found:
        name = snapshot.config.name
        store.set_engine(name, EngineStatus("live"))
        store.set_problems((name, ""), snapshot.problems)
        for index, (container, built) in enumerate(zip(snapshot.containers, snapshot.built, strict=True)):
            store.set_routes((name, container.container_id or f"#{index}"), built)
    return store.commit().table
