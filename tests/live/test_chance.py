"""Random changes while events are lost, repeated, reordered and cut off; afterwards the table matches the engine."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from pilotage.containers.parse import ContainerParser
from pilotage.discovery.manager import discover
from pilotage.discovery.timing import Timing
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.pool import Pool
from pilotage.table.snapshot import build_snapshot
from pilotage.table.store import build_table
from tests.support.truth import facts
from tests.support.virtual import VirtualEngine
from tests.support.waiting import pass_time, until
from tests.support.watched import complete

if TYPE_CHECKING:
    from pilotage.discovery.manager import DiscoveryManager
    from pilotage.table.table import Table
    from pilotage.testing import FakeContainer
    from pilotage.testing.dialect import Flavour

pytestmark = pytest.mark.slow

LABELS = [
    {},
    {"proxy.aliases": "shop"},
    {"proxy.aliases": "shop,admin", "proxy.admin.port": "9000"},
    {"proxy.exclude": "true"},
    {"proxy.#1.port": "nonsense"},
    {"proxy.aliases": "api", "com.docker.compose.project": "shop", "com.docker.compose.service": "api"},
]
STEPS = 400


class Fate:
    """Changes an engine at random; the same seed gives the same changes."""

    def __init__(self, engine: VirtualEngine, seed: int, *, losses: bool = True) -> None:
        self.engine = engine
        self.losses = losses
        self.chance = random.Random(seed)
        self.count = 0

    def any(self, *, alive: bool | None = None) -> FakeContainer | None:
        found = [it for it in self.engine.containers.values() if alive is None or it.alive is alive]
        return self.chance.choice(found) if found else None

    def step(self) -> None:
        """Make one change."""
        chance, engine = self.chance, self.engine
        deeds = [self.add] * 3 + [self.remove] * 2 + [self.life] * 12 + [self.network] * 3 + [self.trouble] * 2
        chance.choice(deeds)()
        if chance.random() < 0.15:
            how = chance.choice([engine.drop_events, engine.duplicate_events, engine.reorder_events])
            how(chance.randint(1, 4))

    def add(self) -> None:
        self.count += 1
        other = self.any()
        mode = f"container:{other.id}" if other is not None and self.chance.random() < 0.2 else ""
        self.engine.add(
            f"app{self.count}",
            labels=self.chance.choice(LABELS),
            state=self.chance.choice(["running", "running", "created", "exited"]),
            health=self.chance.choice(["", "", "starting", "healthy"]),
            network_mode=mode,
            created=1_700_000_000 + self.chance.randint(0, 5),
        )

    def remove(self) -> None:
        if (it := self.any()) is not None:
            self.engine.remove(it)

    def life(self) -> None:
        engine, chance = self.engine, self.chance
        if chance.random() < 0.3 and (it := self.any(alive=False)) is not None:
            engine.start(it)
        elif (it := self.any(alive=True)) is not None:
            if it.state == "paused":
                engine.unpause(it)
                return
            self.count += 1
            deeds = [
                lambda: engine.stop(it),
                lambda: engine.die(it, 1),
                lambda: engine.kill(it),
                lambda: engine.oom(it),
                lambda: engine.restart(it),
                lambda: engine.pause(it),
                lambda: engine.rename(it, f"renamed{self.count}"),
                lambda: engine.exec(it),
                lambda: engine._emit(it, "kill", signal=chance.choice(["1", "15"])),
            ]
            if self.losses:
                deeds.append(lambda: engine.become(it, "exited"))  # without an event
            if it.health:
                deeds += [lambda: engine.health(it, chance.choice(["healthy", "unhealthy", "starting"]))] * 3
            chance.choice(deeds)()

    def network(self) -> None:
        it = self.any(alive=True)
        if it is None or not it.networks:
            return
        name = self.chance.choice(["front", "back"])
        if name in it.networks and len(it.networks) > 1:
            self.engine.disconnect(it, name)
        elif name not in it.networks:
            self.engine.connect(it, name)

    def trouble(self) -> None:
        engine, chance = self.engine, self.chance
        engine.latency = chance.choice([0.0, 0.001, 0.001, 0.05, 0.5])
        match chance.randint(0, 5):
            case 0:
                engine.break_streams()
            case 1:
                engine.spoil("list:id", status=500, times=chance.randint(1, 6))
            case 2:
                engine.spoil("list", status=500, times=chance.randint(1, 6))
            case 3:
                engine.down = chance.choice(["", "connection refused"])
                engine.break_streams()
            case 4:
                engine.silent = not engine.silent
            case _:
                engine.down, engine.silent = "", False


def whole(engine: VirtualEngine, config: DockerProviderConfig) -> Table:
    """Return the table of one full list."""
    return build_table([build_snapshot(config, complete(engine, ContainerParser(config)))])


def is_sound(discovery: DiscoveryManager) -> None:
    """Assert what holds at every moment, even while the table is outdated: excluded routes have no endpoints."""
    for alias, route in discovery.table.routes.items():
        assert route.alias == alias
        assert not (route.excluded and route.endpoints)
        assert len({endpoint.container_id for endpoint in route.endpoints}) == len(route.endpoints)


@pytest.mark.parametrize("flavour", ["docker", "podman"])
@pytest.mark.parametrize("name", ["local", "local!"])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.looptime
async def test_the_table_matches_the_engine_after_the_next_full_list(seed: int, name: str, flavour: Flavour) -> None:
    engine = VirtualEngine(flavour=flavour)
    fate = Fate(engine, seed)
    config = DockerProviderConfig(engine.url, name=name)
    async with Pool(connect=engine.connection) as pool:
        async with discover([config], pool=pool, timing=Timing(reconcile=60)) as discovery:
            subscription = discovery.subscribe()
            shadow: dict[str, object] = {}  # the routes of a subscriber that only applies changes
            for _ in range(STEPS):
                fate.step()
                if fate.chance.random() < 0.5:
                    await asyncio.sleep(fate.chance.choice([0.0, 0.0, 0.002, 0.02, 0.2, 3.0]))
                    is_sound(discovery)
            engine.down, engine.silent, engine.latency = "", False, 0.001
            engine.heal()
            engine.hub.drop(-engine.hub._drop)
            await until(lambda: discovery.table.engines[name].state == "live", patience=120)
            await pass_time(70)  # a full list, and the end of draining
            assert facts(discovery.table) == facts(whole(engine, config))
            async with asyncio.timeout(10):
                while shadow != dict(discovery.table.routes):
                    for change in (await anext(subscription)).changes:
                        if change.kind == "removed":
                            del shadow[change.alias]
                        elif change.kind in ("added", "updated", "draining"):
                            shadow[change.alias] = change.route
            watcher = discovery.watcher(name)
            assert watcher.state.draining == {}
            assert watcher._pending == {}
            assert watcher._rechecks == {}


@pytest.mark.parametrize("flavour", ["docker", "podman"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.looptime
async def test_without_lost_events_the_table_matches_the_engine_at_once(seed: int, flavour: Flavour) -> None:
    engine = VirtualEngine(flavour=flavour)
    fate = Fate(engine, 100 + seed, losses=False)
    config = DockerProviderConfig(engine.url, name="local")
    async with Pool(connect=engine.connection) as pool:
        async with discover([config], pool=pool, timing=Timing(drain_grace=0)) as discovery:
            await discovery.ready()
            for _ in range(120):
                fate.chance.choice([fate.add, fate.remove, fate.life, fate.life, fate.network])()
                await asyncio.sleep(0.05)
                assert facts(discovery.table) == facts(whole(engine, config))
            assert discovery.watcher("local").lists == 1
