"""One watched engine: applies what its watcher reports to the route store."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec

from pilotage.containers.parse import ContainerParser
from pilotage.core.problems import Problem
from pilotage.discovery.host_routes import routes_to
from pilotage.discovery.state import EngineState
from pilotage.discovery.watcher import EngineWatcher
from pilotage.engine.contexts import resolved
from pilotage.table.table import EngineStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pilotage.core.errors import EngineError
    from pilotage.discovery.timing import Timing
    from pilotage.engine.config import DockerProviderConfig
    from pilotage.engine.pool import Pool
    from pilotage.routes.build import Built
    from pilotage.table.store import RouteStore

__all__ = ["DockerProvider"]


class DockerProvider:
    """The engine's watcher and state, and its part of the route store.

    It implements :class:`~pilotage.discovery.watcher.WatchHandler`.

    Args:
        config: the engine.
        store: receives routes, problems and the engine's status.
        publish: commits the store and notifies subscribers.
        pool: source of connections.
        agents: address (``host:port``) -> name of every known agent.
        env: environment variables.
        reserved_ports: ports of this host that the proxy itself uses.
        timing: intervals and timeouts of the watcher.
        on_lag: receives the seconds between an event and the change it caused.

    Attributes:
        config: the engine as configured; its address may still be ``context://NAME``.
        name: name of the engine in routes, problems and the table.
        state: its containers and routes.
        watcher: the watcher; run it in a task.
        task: the task that runs the watcher, set by the manager.
        listed: set after the first full list.
        attempted: set after the first full list or the first failure.

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
        timing: Timing | None,
        on_lag: Callable[[float], object] | None,
    ) -> None:
        self.config = config
        config = resolved(config, env)
        self.name = config.name or config.url
        config = msgspec.structs.replace(config, name=self.name)
        self._store = store
        self._publish = publish
        self._removed = False
        parser = ContainerParser(config, agents=agents, env=env, routes_to=routes_to)
        self.state = EngineState(parser, reserved_ports=reserved_ports)
        self.watcher = EngineWatcher(config, self.state, self, pool=pool, timing=timing, on_lag=on_lag)
        self.task: asyncio.Task[None] | None = None
        self.listed = asyncio.Event()
        self.attempted = asyncio.Event()
        store.set_engine(self.name, EngineStatus("pending", time.time()))

    def on_change(self, changes: Mapping[str, Built | None], causes: Mapping[str, str]) -> None:
        """Replace the routes of changed containers in the store."""
        if self._removed:
            return
        for container_id, built in changes.items():
            self._store.set_routes((self.name, container_id), built, causes.get(container_id, ""))
        self._publish()

    def on_live(self) -> None:
        """Mark the engine live and clear its problems."""
        if self._removed:
            return
        self._store.set_engine(self.name, EngineStatus("live", time.time()))
        self._store.set_problems((self.name, ""), ())
        self._publish()
        self.listed.set()
        self.attempted.set()

    def on_stale(self, error: EngineError) -> None:
        """Mark the engine stale and record why. Its routes stay."""
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

    def remove(self) -> None:
        """Remove the engine and its routes from the store, and ignore everything the watcher still reports."""
        self._removed = True
        for container_id in list(self.state.built):
            self._store.set_routes((self.name, container_id), None, f"engine {self.name} removed")
        self._store.set_problems((self.name, ""), ())
        self._store.set_engine(self.name, None)
        self._publish()
        self.listed.set()  # wake all tasks that wait for this engine
        self.attempted.set()
