"""The live table: watches engines and route files, and publishes every change.

``async with discover(engines) as discovery`` watches each engine in a task of its own. An engine that is away keeps its
last good routes, marked stale, and does not affect the others.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from pilotage.core.errors import PilotageError
from pilotage.discovery.files import FileWatcher
from pilotage.discovery.provider import DockerProvider
from pilotage.discovery.subscription import Subscription
from pilotage.engine.pool import Pool
from pilotage.routes.build import RESERVED_PORTS, Built
from pilotage.table.store import RouteStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

    from pilotage.discovery.timing import Timing
    from pilotage.discovery.update import Update
    from pilotage.discovery.watcher import EngineWatcher
    from pilotage.engine.config import DockerProviderConfig
    from pilotage.routes.file import RouteFile
    from pilotage.routes.route import EndpointHealth
    from pilotage.table.snapshot import EngineSnapshot
    from pilotage.table.table import Table

__all__ = ["DiscoveryManager", "discover"]


class DiscoveryManager:
    """A live table of routes. :func:`discover` creates it; iterate it for :class:`Update` values.

    Args:
        pool: source of connections.
        group: runs the watcher tasks.
        agents: address (``host:port``) -> name of every known agent.
        env: environment variables, the process's own by default.
        reserved_ports: ports of this host that the proxy itself uses.
        timing: intervals and timeouts of the watchers.
        on_lag: receives the seconds between an event and the change it caused.

    """

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
        self.store = RouteStore()
        self._group = group
        self._providers: dict[str, DockerProvider] = {}
        self._files = FileWatcher((), self._on_file_change)
        self._file_aliases: dict[str, tuple[str, ...]] = {}
        self._file_task: asyncio.Task[None] | None = None
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()  # dropping a subscription ends it

    @property
    def table(self) -> Table:
        """The current table."""
        return self.store.table

    def snapshots(self) -> tuple[EngineSnapshot, ...]:
        """Return the containers and routes of each engine, in the order in which the engines were added."""
        return tuple(provider.state.snapshot() for provider in self._providers.values())

    def files(self) -> tuple[RouteFile, ...]:
        """Return the route files, in the order of their names or patterns."""
        return tuple(self._files.files.values())

    def watcher(self, name: str) -> EngineWatcher:
        """Return the watcher of an engine, for its counters.

        Raises:
            PilotageError: no such engine is being watched.

        """
        return self._provider(name).watcher

    async def ready(self, *names: str, or_away: bool = False) -> None:
        """Wait for the first full list of engines. The table is complete for these engines then.

        Args:
            names: the engines; all if omitted.
            or_away: do not wait for an engine whose first attempt failed.

        """
        for provider in [self._provider(name) for name in names] or list(self._providers.values()):
            await (provider.attempted if or_away else provider.listed).wait()

    def add(self, config: DockerProviderConfig) -> None:
        """Start watching an engine.

        Raises:
            PilotageError: an engine with this name is already being watched.

        """
        provider = DockerProvider(
            config,
            self.store,
            self.publish,
            pool=self.pool,
            agents=self.agents,
            env=self.env,
            reserved_ports=self.reserved_ports,
            timing=self.timing,
            on_lag=self.on_lag,
        )
        if provider.name in self._providers:
            raise PilotageError(f"an engine called {provider.name!r} is already being watched")
        self._providers[provider.name] = provider
        provider.task = self._group.create_task(provider.watcher.run(), name=f"watch {provider.name}")

    async def remove(self, name: str) -> None:
        """Stop watching an engine and remove its routes from the table.

        Raises:
            PilotageError: no such engine is being watched.

        """
        provider = self._providers.pop(self._provider(name).name)
        provider.remove()
        await _cancel([provider.task])

    async def apply_config(self, engines: Iterable[DockerProviderConfig], files: Iterable[str]) -> list[str]:
        """Watch these engines and route files, and no others. Engines that did not change are not interrupted.

        The daemon calls this after it has read a changed configuration. A changed engine is removed and added again.

        Args:
            engines: all engines; their names must differ.
            files: names or patterns of all route files.

        Returns:
            What was done, in words for the log; empty if nothing differed.

        Raises:
            ConfigError: the address of an engine is invalid.

        """
        done: list[str] = []
        before = {provider.config.name or provider.config.url: provider for provider in self._providers.values()}
        after = {config.name or config.url: config for config in engines}
        for name, provider in before.items():
            if provider.config != after.get(name):
                await self.remove(provider.name)
                done.append(f"{'changed' if name in after else 'removed'} engine {name}")
        for name, config in after.items():
            if name not in before:
                done.append(f"added engine {name}")
            if name not in before or before[name].config != config:
                self.add(config)
        patterns = tuple(files)
        if patterns != self._files.patterns:
            await self.use_files(patterns)
            done.append("changed route files")
        return done

    async def use_files(self, patterns: Iterable[str]) -> None:
        """Read and watch these route files, and no others.

        Args:
            patterns: file names or patterns such as ``routes.d/*.yml``.

        """
        await _cancel([self._file_task])
        known = self._files.files
        self._files = FileWatcher(patterns, self._on_file_change, reserved_ports=self.reserved_ports, known=known)
        self._files.read()
        if self._files.patterns:
            self._file_task = self._group.create_task(self._files.run(), name="watch route files")

    def _on_file_change(self, name: str, file: RouteFile | None) -> None:
        routes = file.routes if file is not None else ()
        cause = f"{name} {'changed' if file is not None else 'removed'}"
        aliases = tuple(route.alias for route in routes)
        for alias in self._file_aliases.pop(name, ()):
            if alias not in aliases:
                self.store.set_routes((name, alias), None, cause)
        for route in routes:
            self.store.set_routes((name, route.alias), Built((route,), route.problems), cause)
        if aliases:
            self._file_aliases[name] = aliases
        self.store.set_problems((name, ""), file.problems if file is not None else ())
        self.publish()

    async def close(self) -> None:
        """Stop watching and end all subscriptions. The table stays as it is."""
        await _cancel([*(provider.task for provider in self._providers.values()), self._file_task])
        for subscription in tuple(self._subscriptions):
            subscription.close()

    def _provider(self, name: str) -> DockerProvider:
        try:
            return self._providers[name]
        except KeyError:
            known = ", ".join(self._providers) or "none"
            raise PilotageError(f"no engine called {name!r} is being watched; known engines: {known}") from None

    def publish(self) -> None:
        """Commit the store and notify subscribers if anything changed."""
        before = self.store.table
        result = self.store.commit()
        if result.table is not before:
            for subscription in self._subscriptions:
                subscription.notify(result.aliases, result.problem_keys, result.health_aliases)

    def set_health(self, health: Mapping[str, Mapping[str, EndpointHealth]]) -> None:
        """Record probe results in the table. They change no route, and so no traffic.

        Args:
            health: alias -> endpoint address -> health. It replaces everything known about these aliases.

        """
        for alias, found in health.items():
            self.store.set_health(alias, found)
        self.publish()

    def subscribe(self) -> Subscription:
        """Return a new subscription. Its first update contains the whole table."""
        subscription = Subscription(self.store)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop notifying a subscription."""
        self._subscriptions.discard(subscription)

    async def __aiter__(self) -> AsyncGenerator[Update, None]:
        subscription = self.subscribe()
        try:
            async for update in subscription:
                yield update
        finally:
            self.unsubscribe(subscription)


async def _cancel(tasks: Iterable[asyncio.Task[None] | None]) -> None:
    """Cancel tasks and wait until they end. They are cancelled even if this call is."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)


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
) -> AsyncGenerator[DiscoveryManager, None]:
    """Watch engines and route files, and keep one live table of their routes.

    Args:
        engines: the engines; their names must differ.
        files: names or patterns of route files.
        pool: source of connections; by default a new pool that is closed at the end.
        agents: address (``host:port``) -> name of every known agent.
        env: environment variables, the process's own by default. ``DOCKER_HOST`` makes an engine local
            (LABELS II.3.5).
        reserved_ports: ports of this host that the proxy itself uses.
        timing: intervals and timeouts of the watchers.
        on_lag: receives the seconds between an event and the change it caused.

    Raises:
        ConfigError: an address is invalid.
        PilotageError: two engines have the same name.

    """
    async with AsyncExitStack() as stack:
        if pool is None:
            pool = await stack.enter_async_context(Pool())
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            manager = DiscoveryManager(
                pool=pool,
                group=group,
                agents=agents,
                env=env,
                reserved_ports=reserved_ports,
                timing=timing,
                on_lag=on_lag,
            )
            try:
                await manager.use_files(files)
                for config in engines:
                    manager.add(config)
                yield manager
            except Exception as error:  # noqa: BLE001  # raised below, because the task group would wrap it
                failure = error
            finally:
                await manager.close()
        if failure is not None:
            raise failure
