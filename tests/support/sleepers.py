"""A sleeper that follows a fake engine, with a gateway that only remembers what it is told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from pilotage import discover
from pilotage.daemon.sleep import DiscoverySource
from pilotage.sleep.datagrams import Datagrams
from pilotage.sleep.readiness import Readiness
from pilotage.sleep.sleeper import Sleeper
from tests.support.discoveries import QUICK, config
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from pilotage.discovery.manager import DiscoveryManager
    from pilotage.routes.gate import Gate
    from pilotage.routes.route import Endpoint, Route
    from pilotage.sleep.status import SleepStatus
    from pilotage.testing import FakeEngine
    from pilotage.xds.load_reports import Report
    from pilotage.xds.resources import Key

__all__ = ["Night", "sleeping", "state_of"]


class Keeper:
    """The gateway: all Envoys accept everything at once, unless they are told to wait."""

    def __init__(self) -> None:
        self.gates: dict[str, Gate] = {}
        self.history: list[tuple[str, str]] = []
        self.epoch = 0
        self.accepts = asyncio.Event()
        self.accepts.set()

    def set_gate(self, alias: str, gate: Gate | None) -> frozenset[Key]:
        if gate is None:
            self.gates.pop(alias, None)
        elif gate != self.gates.get(alias):
            self.gates[alias] = gate
            self.history.append((alias, gate.opening))
        return frozenset()

    def next_epoch(self) -> int:
        self.epoch += 1
        return self.epoch

    async def wait_for_acks(self, keys: Iterable[Key]) -> None:
        await self.accepts.wait()


class Night:
    """A sleeper at work."""

    def __init__(self, discovery: DiscoveryManager, keeper: Keeper) -> None:
        self.discovery = discovery
        self.keeper = keeper
        self.answers = True
        self.silent: set[str] = set()  # addresses that do not respond
        self.on_probe: Callable[[], object] = lambda: None
        self.reports: list[Report] = []
        self.envoys = 0
        self.datagrams = Datagrams(is_enabled=True)
        self.sleeper = Sleeper(
            source := DiscoverySource(discovery),
            keeper,
            source.connect,
            may_act=source.may_idle,
            reports=lambda: self.reports,
            envoys=lambda: self.envoys,
            on_state=source.show,
            probe=self._probe,
            datagrams=self.datagrams,
        )
        self.datagrams.want, self.datagrams.changed = self.sleeper.want, self.sleeper.sessions_changed

    async def _probe(self, _route: Route, endpoint: Endpoint) -> Readiness:
        self.on_probe()
        if endpoint.host in self.silent:
            await asyncio.Event().wait()  # never: the sleeper's own time limit has to end it
        return Readiness.READY if self.answers else Readiness.REFUSED

    async def follow(self) -> None:
        async for update in self.discovery:
            self.sleeper.follow({change.alias for change in update.changes if change.alias})

    def status(self, alias: str = "web") -> SleepStatus:
        unit = self.sleeper.unit(alias)
        assert unit is not None
        return self.sleeper.status(unit)

    async def until_state(self, state: str, alias: str = "web") -> None:
        await until(lambda: self.sleeper.unit(alias) is not None and self.status(alias).state == state, patience=20)


def state_of(engine: FakeEngine, name: str) -> str:
    """Return the state of a container of a fake engine."""
    found = engine.find(name)
    assert found is not None
    return found.state


@contextlib.asynccontextmanager
async def sleeping(engine: FakeEngine, *files: str) -> AsyncIterator[Night]:
    """Let the containers of a fake engine sleep and wake, also with the routes of files."""
    async with discover([config(engine)], files=files, timing=QUICK) as discovery:
        await discovery.ready()
        night = Night(discovery, Keeper())
        tasks = [asyncio.create_task(night.follow()), asyncio.create_task(night.sleeper.run())]
        try:
            yield night
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
