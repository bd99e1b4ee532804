"""Applies the reports of one engine's watcher to the route store."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.containers.parse import ContainerParser
from pilotage.core.problems import Problem
from pilotage.discovery.found_agent import found_agent
from pilotage.discovery.host_addresses import HostAddresses
from pilotage.discovery.host_routes import routes_to
from pilotage.discovery.state import EngineState
from pilotage.discovery.watcher import EngineWatcher
from pilotage.engine.agents import AgentInfo
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.contexts import resolved
from pilotage.table.table import EngineStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pilotage.core.errors import EngineError
    from pilotage.discovery.timing import Timing
    from pilotage.engine.pool import Pool
    from pilotage.policy import Policy
    from pilotage.routes.build import Built
    from pilotage.table.snapshot import EngineSnapshot
    from pilotage.table.store import RouteStore

__all__ = ["DockerProvider", "KnownAgent", "cancel_tasks"]

log = logging.getLogger(__name__)


class KnownAgent(msgspec.Struct, frozen=True):
    """An agent and its engine.

    Attributes:
        engine: the name of the engine behind it.
        config: that engine as configured.
        info: what the agent reports about itself; ``None`` until its first report.

    """

    engine: str
    config: DockerProviderConfig
    info: AgentInfo | None


class DockerProvider:
    """One engine's watcher and state, and its part of the route store.

    It implements :class:`~pilotage.discovery.watcher.WatchHandler`.

    Args:
        config: the engine.
        store: receives routes, problems and the engine's status.
        publish: commits the store and notifies subscribers.
        pool: source of connections.
        agents: address (``host:port``) -> name of every known agent.
        env: environment variables.
        reserved_ports: ports on this host that the proxy itself uses.
        policy: what containers may claim.
        timing: intervals and timeouts of the watcher.
        on_lag: receives the seconds between an event and the change that the event caused.
        rename: called with this provider and the name that its agent reports; returns the name to use.

    Raises:
        ConfigError: the address is invalid. The store is unchanged, because nothing is written to it before
            :meth:`start`.

    Attributes:
        config: the engine as configured; its address may still be ``context://NAME``.
        name: name of the engine in routes, problems and the table.
        state: its containers and routes.
        watcher: the watcher; run it in a task.
        task: the task that runs the watcher, set by the manager.
        listed: set after the first full list, or when no list will follow because discovery no longer watches the
            engine.
        attempted: set after the first full list or the first failure, or when neither will follow.
        is_listed: whether there has been a full list.
        agent: what the agent in front of the engine reports about itself; ``None`` before its first report, and if
            there is no agent.

    """

    def __init__(
        self,
        config: DockerProviderConfig,
        store: RouteStore,
        publish: Callable[[], None],
        *,
        pool: Pool,
        agents: Mapping[str, str] | None,
        env: Mapping[str, str],
        reserved_ports: frozenset[int],
        policy: Policy,
        timing: Timing | None,
        on_lag: Callable[[float], object] | None,
        rename: Callable[[DockerProvider, str], str] = lambda provider, _: provider.name,
    ) -> None:
        self.config = config
        config = resolved(config, env)
        self.name: str = config.name or config.url
        self.agent: AgentInfo | None = None
        self._rename = rename
        config = msgspec.structs.replace(config, name=self.name)
        self._store = store
        self._publish = publish
        self._removed = False
        self._reserved_ports, self._policy = reserved_ports, policy
        parser = ContainerParser(config, agents=agents, env=env, routes_to=routes_to)
        self.state = _new_state(parser, reserved_ports, policy)
        self.watcher = EngineWatcher(config, self.state, self, pool=pool, timing=timing, on_lag=on_lag)
        self.task: asyncio.Task[None] | None = None
        self.listed = asyncio.Event()
        self.attempted = asyncio.Event()
        self.is_listed = False
        self._predecessor: DockerProvider | None = None

    def start(self, predecessor: DockerProvider | None = None) -> None:
        """Add the engine to the store.

        Args:
            predecessor: the same engine before its settings changed. Its routes are kept and marked stale until this
                provider's first full list, which then replaces them in one commit.

        """
        before: EngineStatus | None = None
        if predecessor is not None:
            self._predecessor = old = predecessor._retire()  # noqa: SLF001  # of this class
            before = self._store.engine(old.name)
            for mine, theirs in (("listed", predecessor.listed), ("attempted", predecessor.attempted)):
                if not theirs.is_set():  # tasks that wait for the predecessor now wait for this provider
                    setattr(self, mine, theirs)
            self._store.set_problems((old.name, ""), ())
            if before is not None and before.state != "pending":
                since = before.since if before.state == "stale" else time.time()
                self._store.set_engine(old.name, EngineStatus("stale", since, _CHANGED))
        if self._store.engine(self.name) is None:
            self._store.set_engine(self.name, EngineStatus("pending", time.time()))

    def snapshot(self) -> EngineSnapshot:
        """Return the containers and routes as of the last list, or of the predecessor before the first list."""
        snapshot = self.current.snapshot()
        found = found_agent(self.agent, self.config)
        return snapshot if found is None else msgspec.structs.replace(snapshot, agent=found)

    @property
    def current(self) -> EngineState:
        """The state behind :meth:`snapshot`, which is cheaper to read because nothing is sorted. Do not change it."""
        return (self._predecessor or self).state

    def is_renamed(self, config: DockerProviderConfig) -> bool:
        """Return whether a new configuration differs from this engine's only in the name, or not at all."""
        return msgspec.structs.replace(self.config, name=config.name) == config

    def on_change(self, changes: Mapping[str, Built | None], causes: Mapping[str, str], *, more: bool = False) -> None:
        """Replace the routes of changed containers in the store."""
        if self._removed:
            return
        for container_id, built in changes.items():
            self._store.set_routes((self.name, container_id), built, causes.get(container_id, ""))
        self._store.set_incomplete(self.name, incomplete=more)
        if not more:
            self._publish()

    def prepare(self) -> bool:
        """Do part of the work for the store's next commit. Return whether there is more to do."""
        return not self._removed and self._store.prepare(self.name)

    def on_live(self) -> None:
        """Mark the engine live and clear its problems."""
        if self._removed:
            return
        self._supersede()
        if any(holder.engine == self.name for holder in self._store.reserved.values()):
            self._store.settle()  # this engine's own containers come before those that waited for its names
            self._store.release(self.name)
        self._store.set_engine(self.name, EngineStatus("live", time.time()))
        self._store.set_problems((self.name, ""), ())
        self._publish()
        self.is_listed = True
        self.release()

    def on_agent(self, info: AgentInfo) -> None:
        """Record what the agent reports. An engine without a name takes the first name that its agent reports."""
        first, self.agent = self.agent is None, info
        if self._removed or not (first and info.name and self.config.takes_agent_name):
            return
        before, name = self.name, self._rename(self, info.name)
        self.state.parser.take_name(name, info.name)
        # Nothing has been listed.
        self.state = self.watcher.state = _new_state(self.state.parser, self._reserved_ports, self._policy)
        self.watcher.config = self.state.parser.config
        if name == before:
            return
        self.name = name
        self._store.rename_engine(before, name)
        if self._predecessor is None or self._predecessor.name != before:
            status = self._store.engine(before)
            self._store.set_problems((before, ""), ())
            self._store.set_engine(before, None)
            if self._store.engine(name) is None and status is not None:
                self._store.set_engine(name, status)
        self._publish()

    def on_stale(self, error: EngineError) -> None:
        """Mark the engine stale and record why. Its routes are kept."""
        if self._removed:
            return
        known = self._store.engine(self.name)
        text = f"{error.what}; {error.remedy}" if error.remedy else error.what
        since = known.since if known is not None and known.state == "stale" else time.time()
        self._store.set_engine(self.name, EngineStatus("stale", since, text))
        problem = Problem(message=error.what, hint=error.remedy, provider=self.name)
        self._store.set_problems((self.name, ""), [problem])
        self._publish()
        self.attempted.set()

    def on_flood(self, limit: int) -> None:
        """Report that the engine sends events about more than ``limit`` containers; 0 withdraws the report."""
        if self._removed:
            return
        message = (
            f"sends events about more than {limit:,} containers at once, so all containers are listed every second"
        )
        problem = Problem(message=message, severity="warning", hint="check its log", provider=self.name)
        self._store.set_problems((self.name, _FLOOD), [problem] if limit else ())
        if limit:
            log.warning("%s", problem)
        self._publish()

    async def apply(self, reserved_ports: frozenset[int], policy: Policy) -> None:
        """Rebuild all routes from the known containers, without listing them again, and publish the changes.

        Args:
            reserved_ports: ports on this host that the proxy itself uses from now on.
            policy: what containers may claim from now on.

        """
        self._reserved_ports, self._policy = reserved_ports, policy
        owner = self._predecessor or self
        for provider in (self, owner):
            provider.state.apply(reserved_ports, policy)
        ids = list(owner.state.containers)
        for start in range(0, len(ids), _BATCH):
            if self._removed or owner is not (self._predecessor or self):
                return  # listed in the meantime, with the new policy
            for container_id, built in owner.state.rebuild(ids[start : start + _BATCH]).items():
                self._store.set_routes((owner.name, container_id), built, _RELOADED)
            await asyncio.sleep(0)
        while self.prepare():  # noqa: ASYNC110  # the loop works and does not wait for anything
            await asyncio.sleep(0)
        if not self._removed:
            self._publish()

    def remove(self) -> None:
        """Remove the engine and its routes from the store, and ignore everything the watcher still reports."""
        owner = self._retire()
        self._forget(owner, owner.state.built, f"engine {owner.name} removed")
        self._store.set_engine(owner.name, None)
        self._store.release(owner.name)
        self._publish()
        self.release()

    def release(self) -> None:
        """Wake all tasks that wait for this engine."""
        self.listed.set()
        self.attempted.set()

    def _retire(self) -> DockerProvider:
        """Ignore further reports of the watcher. Return the provider that owns the engine's routes in the store."""
        self._removed = True
        self._store.set_incomplete(self.name, incomplete=False)
        owner, self._predecessor = self._predecessor or self, None
        if owner.name != self.name:
            self._store.set_problems((self.name, ""), ())
            self._store.set_engine(self.name, None)
        return owner

    def _supersede(self) -> None:
        """After this provider's first list, remove the predecessor's routes that the list did not replace."""
        old, self._predecessor = self._predecessor, None
        if old is None:
            return
        if old.name == self.name:
            gone = [container_id for container_id in old.state.built if container_id not in self.state.built]
            self._forget(old, gone, f"engine {self.name} was changed")
        else:
            self._store.rename_engine(old.name, self.name)
            self._forget(old, old.state.built, f"engine {old.name} is now called {self.name}")
            self._store.set_engine(old.name, None)

    def _forget(self, owner: DockerProvider, ids: Iterable[str], cause: str) -> None:
        for container_id in ids:
            self._store.set_routes((owner.name, container_id), None, cause)
        for key in ("", _FLOOD):
            self._store.set_problems((owner.name, key), ())


def _new_state(parser: ContainerParser, reserved_ports: frozenset[int], policy: Policy) -> EngineState:
    return EngineState(parser, reserved_ports=reserved_ports, policy=policy, is_local=HostAddresses().has)


_FLOOD: Final = "events"
_BATCH: Final = 250  # containers rebuilt before other tasks get a turn
_RELOADED: Final = "a new configuration"
_CHANGED: Final = "its settings changed, and it has not been listed since"


async def cancel_tasks(tasks: Iterable[asyncio.Task[None] | None]) -> None:
    """Cancel tasks and wait until they end. Cancelling this call ends only the wait."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
