"""A running watcher of one engine, and a record of its callbacks and their times."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec

from pilotage.containers.inspection import needs_inspection, with_inspection, with_start
from pilotage.containers.networks import shared_network_id
from pilotage.containers.parse import ContainerParser
from pilotage.discovery.state import EngineState
from pilotage.discovery.watcher import EngineWatcher
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.pool import Pool
from pilotage.engine.types import Inspect
from pilotage.table.snapshot import build_snapshot
from tests.support.virtual import VirtualEngine
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pilotage.containers.container import Container
    from pilotage.core.errors import EngineError
    from pilotage.discovery.timing import Timing
    from pilotage.engine.agents import AgentInfo
    from pilotage.routes.build import Built
    from pilotage.testing import FakeEngine

__all__ = ["Told", "Watch", "complete", "now"]


def now() -> float:
    return asyncio.get_running_loop().time()


class Told:
    """Records a watcher's callbacks."""

    def __init__(self) -> None:
        self.log: list[tuple[float, str]] = []
        self.changes: list[tuple[float, dict[str, Built | None], dict[str, str]]] = []
        self.batches: list[bool] = []  # whether more of the same list follows
        self.errors: list[EngineError] = []
        self.agents: list[AgentInfo] = []

    def on_change(self, changes: Mapping[str, Built | None], causes: Mapping[str, str], *, more: bool = False) -> None:
        assert changes
        self.batches.append(more)
        self.changes.append((now(), dict(changes), dict(causes)))

    def prepare(self) -> bool:
        return False

    def on_live(self) -> None:
        self.log.append((now(), "live"))

    def on_stale(self, error: EngineError) -> None:
        self.log.append((now(), "away"))
        self.errors.append(error)

    def on_agent(self, info: AgentInfo) -> None:
        self.agents.append(info)

    def on_flood(self, limit: int) -> None:
        self.log.append((now(), "flood" if limit else "calm"))

    @property
    def words(self) -> list[str]:
        return [word for _, word in self.log]

    def when(self, word: str) -> float:
        return next(at for at, each in reversed(self.log) if each == word)


def complete(engine: FakeEngine, parser: ContainerParser) -> list[Container]:
    """Return the containers of a full list, inspected where the list leaves something out."""
    found = [parser.decode(engine.summary_bytes(it, with_health=False)) for it in engine.in_order()]
    owners = set(map(shared_network_id, found))
    for index, it in enumerate(found):
        incomplete = needs_inspection(it, podman=engine.dialect.podman)
        shares = shared_network_id(it) or not owners.isdisjoint({it.container_id, it.container_name})
        if incomplete or (it.running and shares):
            answer = msgspec.json.decode(engine.inspect_bytes(engine.containers[it.container_id]), type=Inspect)
            found[index] = with_inspection(it, answer) if incomplete else with_start(it, answer)
    return found


class Watch:
    """An engine, its watcher, and the watcher's callbacks."""

    def __init__(self, engine: FakeEngine, timing: Timing | None = None, name: str = "local", url: str = "") -> None:
        self.engine = engine
        config = DockerProviderConfig(url or engine.url, name=name)
        self.state = EngineState(ContainerParser(config))
        self.told = Told()
        connect = engine.connection if isinstance(engine, VirtualEngine) else None
        self.pool = Pool(connect=connect) if connect else Pool()
        self.watcher = EngineWatcher(config, self.state, self.told, pool=self.pool, timing=timing)

    def states(self) -> dict[str, list[str]]:
        routes = [route for built in self.state.built.values() for route in built.routes]
        return {route.alias: [endpoint.state for endpoint in route.endpoints] for route in routes}

    def is_true(self) -> bool:
        """Whether the watcher's state equals a full list."""
        parser = self.state.parser
        whole = build_snapshot(parser.config, complete(self.engine, parser))
        return sorted(whole.built, key=str) == sorted(self.state.snapshot().built, key=str)

    async def idle(self) -> None:
        """Wait until the watcher has handled every event sent and has no request, refresh or recheck outstanding."""
        engine, watcher = self.engine, self.watcher
        assert isinstance(engine, VirtualEngine)
        await until(
            lambda: (
                watcher.events == engine.sent
                and watcher._in_flight == ()
                and not watcher._pending
                and not watcher._rechecks
            )
        )

    @contextlib.asynccontextmanager
    async def running(self, *, wait: bool = True) -> AsyncIterator[None]:
        task = asyncio.create_task(self.watcher.run())
        try:
            if wait:
                await until(lambda: "live" in self.told.words)
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self.pool.close()
