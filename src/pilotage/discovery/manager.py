"""Engines and files, one live table.

``async with discover(engines) as discovery`` watches every engine in a task of its own. One that is away keeps its last
good routes, marked stale, and touches no other.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

import msgspec

from pilotage.containers.parse import ContainerReader
from pilotage.core.errors import PilotageError
from pilotage.core.problems import Problem
from pilotage.discovery.files import FileWatcher
from pilotage.discovery.state import Population
from pilotage.discovery.watcher import EngineWatcher, Timing
from pilotage.engine.contexts import resolved
from pilotage.engine.pool import Pool
from pilotage.routes.build import RESERVED_PORTS, Built
from pilotage.table.store import Ledger
from pilotage.table.table import Change, EngineStatus, Table, diff

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

    from pilotage.core.errors import EngineError
    from pilotage.engine.address import DockerProviderConfig
    from pilotage.routes.file import RouteFile
    from pilotage.routes.route import EndpointHealth
    from pilotage.table.snapshot import Roster
    from pilotage.table.table import ProblemKey

__all__ = ["Discovery", "Subscription", "Update", "discover"]


class Update(msgspec.Struct, frozen=True, eq=False):
    """What changed since the last update that a subscriber was given.

    Attributes:
        old: the table it was given then; the empty table at first.
        new: the table now.
        changes: the differences, at least one.

    """

    old: Table
    new: Table
    changes: tuple[Change, ...]


class Subscription:
    """The updates of one subscriber: ``async for update in subscription``.

    A slow subscriber costs nothing: it is not sent every table, but gets the newest one when it asks, with all changes
    since its last one merged. What comes and goes in between is not seen. The iteration ends when the discovery does,
    after a last update with what is left to tell.
    """

    def __init__(self, discovery: Discovery) -> None:
        self._discovery = discovery
        self._seen = Table()
        self._aliases: dict[str, str] = {}
        self._keys: set[ProblemKey] = set()
        self._wanted = asyncio.Event()
        self._ended = False
        self.offer(dict.fromkeys(discovery.table.routes, ""), set(discovery.table.faults))

    def offer(self, aliases: Mapping[str, str], keys: Iterable[ProblemKey], observed: Iterable[str] = ()) -> None:
        """Note what changed. Never waits; what is remembered is bounded by what the tables hold.

        Args:
            aliases: each with the cause of its change.
            keys: whose problems changed.
            observed: aliases of which only what probes found has changed.

        """
        self._aliases.update(aliases)
        for alias in observed:
            self._aliases.setdefault(alias, "")
        self._keys.update(keys)
        if len(self._aliases) > _FORGET_AT + 2 * (len(self._seen.routes) + len(self._discovery.table.routes)):
            old, new = self._seen.routes, self._discovery.table.routes
            self._aliases = {a: cause for a, cause in self._aliases.items() if a in old or a in new}
        if len(self._keys) > _FORGET_AT + 2 * (len(self._seen.faults) + len(self._discovery.table.faults)):
            faults = (self._seen.faults, self._discovery.table.faults)
            self._keys = {key for key in self._keys if any(key in found for found in faults)}
        self._wanted.set()

    def end(self) -> None:
        """Let the iteration end once everything has been told."""
        self._ended = True
        self._wanted.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        while True:
            await self._wanted.wait()
            if not self._ended:
                self._wanted.clear()
            old, new = self._seen, self._discovery.table
            changes = diff(old, new, aliases=self._aliases, keys=self._keys)
            self._aliases, self._keys = {}, set()
            if changes:  # without any, the next update's old table is still the one that was given last
                self._seen = new
                return Update(old, new, changes)
            if self._ended:
                raise StopAsyncIteration


_FORGET_AT: Final = 1000


class _Engine:
    """One watched engine: its population, and what its watcher tells, brought into the ledger."""

    def __init__(self, config: DockerProviderConfig, discovery: Discovery) -> None:
        config = resolved(config, discovery.env)
        self.name = config.name or config.url
        self.discovery = discovery
        config = msgspec.structs.replace(config, name=self.name)  # routes and the table call it the same
        reader = ContainerReader(config, agents=discovery.agents, env=discovery.env)
        self.population = Population(reader, reserved_ports=discovery.reserved_ports)
        self.watcher = EngineWatcher(
            config, self.population, self, pool=discovery.pool, timing=discovery.timing, on_lag=discovery.on_lag
        )
        self.task: asyncio.Task[None] | None = None
        self.removed = False
        self.listed = asyncio.Event()
        self.tried = asyncio.Event()
        discovery.ledger.engine(self.name, EngineStatus("pending", time.time()))

    def changed(self, changes: Mapping[str, Built | None], causes: Mapping[str, str]) -> None:
        if self.removed:
            return
        for container_id, built in changes.items():
            self.discovery.ledger.put((self.name, container_id), built, causes.get(container_id, ""))
        self.discovery.publish()

    def live(self) -> None:
        if self.removed:
            return
        self.discovery.ledger.engine(self.name, EngineStatus("live", time.time()))
        self.discovery.ledger.report((self.name, ""), ())
        self.discovery.publish()
        self.listed.set()
        self.tried.set()

    def away(self, error: EngineError) -> None:
        if self.removed:
            return
        known = self.discovery.ledger.status(self.name)
        text = f"{error.what}; {error.remedy}" if error.remedy else error.what
        since = known.since if known is not None and known.state == "stale" else time.time()
        self.discovery.ledger.engine(self.name, EngineStatus("stale", since, text))
        self.discovery.ledger.report(
            (self.name, ""), [Problem(message=error.what, hint=error.remedy, provider=self.name)]
        )
        self.discovery.publish()
        self.tried.set()

    def forget(self) -> None:
        """Take everything of the engine out of the table, for good."""
        self.removed = True
        for container_id in list(self.population.built):
            self.discovery.ledger.put((self.name, container_id), None, f"engine {self.name} removed")
        self.discovery.ledger.report((self.name, ""), ())
        self.discovery.ledger.engine(self.name, None)
        self.discovery.publish()
        self.listed.set()  # nobody shall wait for it any more
        self.tried.set()


class Discovery:
    """A live table of routes. Made by :func:`discover`; iterate it for :class:`Update` values."""

    def __init__(
        self,
        *,
        pool: Pool,
        group: asyncio.TaskGroup,
        agents: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        reserved_ports: frozenset[int] = RESERVED_PORTS,
        timing: Timing | None = None,
        on_lag: Callable[[float], object] | None = None,
    ) -> None:
        self.pool = pool
        self.agents = agents
        self.env = os.environ if env is None else env
        self.reserved_ports = reserved_ports
        self.timing = timing
        self.on_lag = on_lag
        self.ledger = Ledger()
        self._group = group
        self._engines: dict[str, _Engine] = {}
        self._files = FileWatcher((), self._file_changed)
        self._file_aliases: dict[str, tuple[str, ...]] = {}
        self._file_task: asyncio.Task[None] | None = None
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()  # whoever drops one, ends it

    @property
    def table(self) -> Table:
        """The table now."""
        return self.ledger.table

    def rosters(self) -> tuple[Roster, ...]:
        """Return each engine's containers and what came of them, in the order in which engines were added."""
        return tuple(engine.population.roster() for engine in self._engines.values())

    def files(self) -> tuple[RouteFile, ...]:
        """Return the files of routes and what each says, in the order of their names or patterns."""
        return tuple(self._files.files.values())

    def watcher(self, name: str) -> EngineWatcher:
        """Return the watcher of an engine, for its counts.

        Raises:
            PilotageError: there is no such engine.

        """
        return self._engine(name).watcher

    async def ready(self, *names: str, or_away: bool = False) -> None:
        """Wait until engines have been listed for the first time: the table is complete as far as they go.

        Args:
            names: which engines; all by default.
            or_away: be content with those that could not be reached.

        """
        for engine in [self._engine(name) for name in names] or list(self._engines.values()):
            await (engine.tried if or_away else engine.listed).wait()

    def add(self, config: DockerProviderConfig) -> None:
        """Begin to watch an engine.

        Raises:
            PilotageError: one of that name is being watched.

        """
        engine = _Engine(config, self)
        if engine.name in self._engines:
            raise PilotageError(f"an engine called {engine.name!r} is being watched already")
        self._engines[engine.name] = engine
        engine.task = self._group.create_task(engine.watcher.run(), name=f"watch {engine.name}")

    async def remove(self, name: str) -> None:
        """Stop watching an engine, and take its routes out of the table.

        Raises:
            PilotageError: there is no such engine.

        """
        engine = self._engines.pop(self._engine(name).name)
        engine.forget()
        await _ended([engine.task])

    async def use_files(self, patterns: Iterable[str]) -> None:
        """Take routes from these files too, and from no others any more; they are read at once, and watched.

        Args:
            patterns: names of files, or patterns such as ``routes.d/*.yml``.

        """
        await _ended([self._file_task])
        known = self._files.files
        self._files = FileWatcher(patterns, self._file_changed, reserved_ports=self.reserved_ports, known=known)
        self._files.look()
        if self._files.patterns:
            self._file_task = self._group.create_task(self._files.run(), name="watch files of routes")

    def _file_changed(self, name: str, file: RouteFile | None) -> None:
        routes = file.routes if file is not None else ()
        cause = f"{name} {'changed' if file is not None else 'removed'}"
        aliases = tuple(route.alias for route in routes)
        for alias in self._file_aliases.pop(name, ()):
            if alias not in aliases:
                self.ledger.put((name, alias), None, cause)
        for route in routes:
            self.ledger.put((name, route.alias), Built((route,), route.problems), cause)
        if aliases:
            self._file_aliases[name] = aliases
        self.ledger.report((name, ""), file.problems if file is not None else ())
        self.publish()

    async def close(self) -> None:
        """Stop watching, and end all subscriptions; the table stays as it was."""
        await _ended([*(engine.task for engine in self._engines.values()), self._file_task])
        for subscription in tuple(self._subscriptions):
            subscription.end()

    def _engine(self, name: str) -> _Engine:
        try:
            return self._engines[name]
        except KeyError:
            known = ", ".join(self._engines) or "none"
            raise PilotageError(f"no engine called {name!r} is being watched; there is {known}") from None

    def publish(self) -> None:
        """Settle what the ledger was told, and let subscribers know if it changed anything."""
        before = self.ledger.table
        settled = self.ledger.settle()
        if settled.table is not before:
            for subscription in self._subscriptions:
                subscription.offer(settled.aliases, settled.keys, settled.observed)

    def observe(self, found: Mapping[str, Mapping[str, EndpointHealth]]) -> None:
        """Take what probes found into the table. It changes no route, and so nothing about where requests go.

        Args:
            found: alias -> address of an endpoint -> its health, of all its endpoints that are probed; replaces what
                was known of the alias.

        """
        for alias, health in found.items():
            self.ledger.observe(alias, health)
        self.publish()

    def subscribe(self) -> Subscription:
        """Return a new subscription; its first update holds everything there is."""
        subscription = Subscription(self)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        self._subscriptions.discard(subscription)

    async def __aiter__(self) -> AsyncGenerator[Update, None]:
        subscription = self.subscribe()
        try:
            async for update in subscription:
                yield update
        finally:
            self.unsubscribe(subscription)


async def _ended(tasks: Iterable[asyncio.Task[None] | None]) -> None:
    """Cancel tasks and wait until they have ended; they are cancelled even if this is."""
    found = [task for task in tasks if task is not None]
    for task in found:
        task.cancel()
    if found:
        await asyncio.wait(found)


@asynccontextmanager
async def discover(
    engines: Iterable[DockerProviderConfig],
    *,
    files: Iterable[str] = (),
    pool: Pool | None = None,
    agents: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    reserved_ports: frozenset[int] = RESERVED_PORTS,
    timing: Timing | None = None,
    on_lag: Callable[[float], object] | None = None,
) -> AsyncGenerator[Discovery, None]:
    """Watch engines and files, and keep one table of their routes true.

    Args:
        engines: what to watch; names must differ.
        files: names or patterns of files of routes, which are watched too.
        pool: whose connections are used; one of its own by default, closed at the end.
        agents: address (``host:port``) -> name of every known agent.
        env: environment variables, the process's own by default; ``DOCKER_HOST`` makes an engine local (LABELS II.3.5).
        reserved_ports: ports of this host that belong to the proxy.
        timing: how patient the watchers are.
        on_lag: told of each change how many seconds after its event it is in the table.

    Raises:
        ConfigError: an address is none.
        PilotageError: two engines have one name.

    """
    async with AsyncExitStack() as stack:
        if pool is None:
            pool = await stack.enter_async_context(Pool())
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            discovery = Discovery(
                pool=pool,
                group=group,
                agents=agents,
                env=env,
                reserved_ports=reserved_ports,
                timing=timing,
                on_lag=on_lag,
            )
            try:
                await discovery.use_files(files)
                for config in engines:
                    discovery.add(config)
                yield discovery
            except Exception as error:  # noqa: BLE001  # the caller's own, which shall not come back in a group
                failure = error
            finally:
                await discovery.close()
        if failure is not None:
            raise failure
