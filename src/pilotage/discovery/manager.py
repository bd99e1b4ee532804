"""Keeps the live table: watches engines and route files, and publishes every change.

``async with discover(engines) as discovery`` watches each engine in a task of its own. The last good routes of an
unreachable engine are kept and marked stale, and other engines are not affected.
"""

from __future__ import annotations

import asyncio
import functools
import os
import weakref
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from pilotage.core.errors import EngineUnreachable, PilotageError
from pilotage.discovery.file_routes import FileRoutes
from pilotage.discovery.files import FileWatcher
from pilotage.discovery.provider import DockerProvider, KnownAgent, cancel_tasks
from pilotage.discovery.subscription import Subscription
from pilotage.engine.agents import distinct_name
from pilotage.engine.pool import Pool
from pilotage.policy import NO_POLICY
from pilotage.routes.build import RESERVED_PORTS
from pilotage.table.store import RouteStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence

    from pilotage.containers.container import Container
    from pilotage.discovery.timing import Timing
    from pilotage.discovery.update import Update
    from pilotage.discovery.watcher import EngineWatcher
    from pilotage.engine.config import DockerProviderConfig
    from pilotage.policy import Policy
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
        reserved_ports: ports on this host that the proxy itself uses.
        policy: what containers may claim.
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
        policy: Policy = NO_POLICY,
        timing: Timing | None = None,
        on_lag: Callable[[float], object] | None = None,
    ) -> None:
        self.pool = pool
        self.reserved_ports = reserved_ports
        self.policy = policy
        self.store = RouteStore()
        self._group = group
        given: dict[str, Any] = {"pool": pool, "agents": agents, "timing": timing, "on_lag": on_lag}
        given |= {"store": self.store, "publish": self.publish, "rename": self._rename}
        given["env"] = os.environ if env is None else env
        self._new_provider: Callable[..., DockerProvider] = functools.partial(DockerProvider, **given)
        self._providers: dict[str, DockerProvider] = {}
        self._files = FileWatcher((), self._on_file_change)
        self.file_routes = FileRoutes(self.store, self.containers_of, lambda: self._providers)
        self._file_task: asyncio.Task[None] | None = None
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()  # dropping a subscription ends it
        self._closed = False

    @property
    def table(self) -> Table:
        """The current table."""
        return self.store.table

    def snapshots(self) -> tuple[EngineSnapshot, ...]:
        """Return the containers and routes of each engine, in the order in which the engines were added."""
        return tuple(provider.snapshot() for provider in self._providers.values())

    def containers_at(self, addresses: Collection[str]) -> list[Container]:
        """Return all engines' containers that have one of the given addresses on a network, in any order."""
        return [found for provider in self._providers.values() for found in provider.current.containers_at(addresses)]

    def agents(self) -> dict[str, KnownAgent]:
        """Return the known facts about each agent, by address."""
        providers = [provider for provider in self._providers.values() if provider.config.agent]
        return {it.config.agent: KnownAgent(it.name, it.config, it.agent) for it in providers}

    def files(self) -> tuple[RouteFile, ...]:
        """Return the route files, in the order of their names or patterns."""
        return tuple(self._files.files.values())

    def watcher(self, name: str) -> EngineWatcher:
        """Return the watcher of an engine, for its counters.

        Raises:
            PilotageError: no such engine is being watched.

        """
        return self._provider(name).watcher

    async def ready(self, *names: str, or_away: bool = False, timeout: float | None = None) -> None:  # noqa: ASYNC109  # its error has the reason
        """Wait for the first full list of each engine. After that, the table is complete for these engines.

        Args:
            names: the engines; all if omitted.
            or_away: whether to stop waiting for an engine once its first attempt has failed.
            timeout: seconds to wait; ``None`` waits until every engine responds, however long that takes.

        Raises:
            EngineUnreachable: the timeout has passed. The message says which engine is missing and why.
            PilotageError: no such engine is being watched, or discovery was closed in the meantime.

        """
        providers = [self._provider(name) for name in names] or list(self._providers.values())
        try:
            async with asyncio.timeout(timeout):
                for provider in providers:
                    await (provider.attempted if or_away else provider.listed).wait()
        except TimeoutError:
            late = [each for each in providers if not (each.attempted if or_away else each.listed).is_set()]
            if late:
                raise self._not_listed(late, timeout or 0.0) from None
        missing = [provider.name for provider in self._providers.values() if not provider.is_listed]
        if self._closed and any(provider.name in missing for provider in providers):
            raise PilotageError(f"discovery was closed before these engines were listed: {', '.join(missing)}")

    def _not_listed(self, late: Sequence[DockerProvider], timeout: float) -> EngineUnreachable:
        status = self.store.engine(late[0].name)
        what = f"not listed within {timeout:g} s: {(status and status.error) or 'it has not responded yet'}"
        others = f"; also missing: {', '.join(each.name for each in late[1:])}" if late[1:] else ""
        return EngineUnreachable(late[0].name, what + others)

    def add(self, config: DockerProviderConfig) -> None:
        """Start watching an engine.

        Raises:
            ConfigError: its address is invalid.
            PilotageError: an engine with this name is already being watched, or discovery is closed.

        """
        self._require_open()
        provider = self._new_provider(config, reserved_ports=self.reserved_ports, policy=self.policy)
        if provider.name in self._providers:
            raise PilotageError(f"an engine called {provider.name!r} is already being watched")
        self._start(provider)
        self.publish()

    def _rename(self, provider: DockerProvider, wanted: str) -> str:
        """Name a provider after its agent; return the name. If the name is taken, add the agent's address."""
        name = distinct_name(wanted, provider.config, self._providers)
        self._providers = {name if it is provider else key: it for key, it in self._providers.items()}
        return name

    def _start(self, provider: DockerProvider, predecessor: DockerProvider | None = None) -> None:
        provider.start(predecessor)
        self._providers[provider.name] = provider
        provider.task = self._group.create_task(provider.watcher.run(), name=f"watch {provider.name}")

    async def remove(self, name: str) -> None:
        """Stop watching an engine and remove its routes from the table.

        Raises:
            PilotageError: no such engine is being watched.

        """
        provider = self._providers.pop(self._provider(name).name)
        provider.remove()
        await cancel_tasks([provider.task])

    async def apply_config(
        self,
        engines: Iterable[DockerProviderConfig],
        files: Iterable[str],
        *,
        reserved_ports: frozenset[int] | None = None,
        policy: Policy | None = None,
    ) -> list[str]:
        """Watch these engines and route files, and no others. Unchanged engines are not interrupted.

        If the settings or the name of an engine changed, its routes are kept and marked stale until it has been listed
        with the new settings. New reserved ports and a new policy apply immediately to the routes of all engines, even
        of unreachable ones.

        Args:
            engines: all engines; their names must differ.
            files: names or patterns of all route files.
            reserved_ports: ports on this host that the proxy itself uses from now on; as before if omitted.
            policy: what containers may claim from now on; as before if omitted.

        Returns: Descriptions of the changes, for the log; empty if the configuration had not changed.

        Raises:
            ConfigError: the address of an engine is invalid. Nothing has changed.
            PilotageError: two engines have the same name, or discovery is closed. Nothing has changed.

        """
        self._require_open()
        reserved = self.reserved_ports if reserved_ports is None else reserved_ports
        policy = self.policy if policy is None else policy
        is_same = (reserved, policy) == (self.reserved_ports, self.policy)
        before = {provider.config.name or provider.config.url: provider for provider in self._providers.values()}
        after = {config.name or config.url: config for config in engines}
        gone = [name for name in before if name not in after]
        new: dict[str, tuple[DockerProvider, str]] = {}  # name -> provider, and the name of its predecessor
        for name, config in after.items():
            if name in before and before[name].config == config:
                continue
            old = name if name in before else next((g for g in gone if before[g].is_renamed(config)), "")
            if old in gone:
                gone.remove(old)
            new[name] = (self._new_provider(config, reserved_ports=reserved, policy=policy), old)
        order = [new[name][0].name if name in new else before[name].name for name in after]
        if len(set(order)) < len(order):
            twice = next(name for name in order if order.count(name) > 1)
            raise PilotageError(f"two engines are called {twice!r}")
        # Nothing below waits or fails, so a cancelled call leaves no engine half replaced.
        self.reserved_ports, self.policy = reserved, policy
        ended = [self._providers.pop(before[name].name) for name in gone]
        for provider in ended:
            provider.remove()
        done = [f"removed engine {name}" for name in gone]
        replaced = {name: self._providers.pop(before[old].name) for name, (_, old) in new.items() if old}
        for name, (provider, old) in new.items():
            self._start(provider, replaced.get(name))
            done.append(f"{'changed' if old == name else 'added'} engine {name}" if old in ("", name) else
                        f"renamed engine {old} to {name}")  # fmt: skip
        self._providers = {name: self._providers[name] for name in order}
        self.publish()
        if not is_same and self._providers:  # in tasks of their own, which continue if this call is cancelled
            await asyncio.wait([self._group.create_task(it.apply(reserved, policy)) for it in self._providers.values()])
            done.append("rebuilt the routes of all engines")
        await cancel_tasks(provider.task for provider in (*ended, *replaced.values()))
        patterns = tuple(files)
        if patterns != self._files.patterns or (patterns and not is_same):
            await self.use_files(patterns)
            done.append("changed route files")
        return done

    async def use_files(self, patterns: Iterable[str]) -> None:
        """Read and watch these route files, and no others.

        Args:
            patterns: file names or patterns such as ``routes.d/*.yml``.

        Raises:
            PilotageError: discovery is closed.

        """
        self._require_open()
        previous, self._file_task = self._file_task, None
        if previous is not None:
            previous.cancel()  # it reads nothing after this
        known = self._files.files
        given: dict[str, Any] = {"reserved_ports": self.reserved_ports, "gateway": self.policy.gateway, "known": known}
        self._files = FileWatcher(patterns, self._on_file_change, **given)
        self._files.read()
        if self._files.patterns:
            self._file_task = self._group.create_task(self._files.run(), name="watch route files")
        await cancel_tasks([previous])

    def _on_file_change(self, name: str, file: RouteFile | None) -> None:
        self.file_routes.replace(name, file)
        self.publish()

    def containers_of(self, engine: str) -> Mapping[str, Container] | None:
        """Return an engine's containers by ID; ``None`` if it is unknown or not listed yet. Do not change them."""
        provider = self._providers.get(engine)
        if provider is None or not (provider.is_listed or provider.current.containers):
            return None
        return provider.current.containers

    async def close(self) -> None:
        """Stop watching, end all subscriptions and wake all callers of :meth:`ready`. The table stays as it is."""
        self._closed = True
        for provider in self._providers.values():
            provider.release()
        try:
            await cancel_tasks([*(it.task for it in self._providers.values()), self._file_task])
        finally:  # even if this call is cancelled
            for subscription in tuple(self._subscriptions):
                subscription.close()

    def _require_open(self) -> None:
        if self._closed:
            raise PilotageError("discovery is closed")

    def _provider(self, name: str) -> DockerProvider:
        try:
            return self._providers[name]
        except KeyError:
            known = ", ".join(self._providers) or "none"
            raise PilotageError(f"no engine called {name!r} is being watched; known engines: {known}") from None

    def publish(self) -> None:
        """Commit the store and notify subscribers if anything changed."""
        before = self.store.table
        self.file_routes.refresh()
        self.store.configure(engines=self._providers, policy=self.policy)
        result = self.store.commit()
        if result.table is not before:
            for subscription in self._subscriptions:
                subscription.notify(result.aliases, result.problem_keys, result.health_aliases)

    def set_health(self, health: Mapping[str, Mapping[str, EndpointHealth]]) -> None:
        """Replace the probe results of the given aliases: alias -> endpoint address -> health.

        Probe results do not change routes, so they do not affect traffic.
        """
        for alias, found in health.items():
            self.store.set_health(alias, found)
        self.publish()

    def subscribe(self) -> Subscription:
        """Return a new subscription. Its first update has the whole table. After :meth:`close`, no other follows."""
        self._subscriptions.add(subscription := Subscription(self.store))
        if self._closed:
            subscription.close()
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


@asynccontextmanager
async def discover(
    engines: Iterable[DockerProviderConfig],
    *,
    files: Iterable[str] = (),
    pool: Pool | None = None,
    agents: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    reserved_ports: frozenset[int] = RESERVED_PORTS,
    policy: Policy = NO_POLICY,
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
        reserved_ports: ports on this host that the proxy itself uses.
        policy: what containers may claim.
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
            given: dict[str, Any] = {"agents": agents, "env": env, "timing": timing, "on_lag": on_lag}
            manager = DiscoveryManager(pool=pool, group=group, reserved_ports=reserved_ports, policy=policy, **given)
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
