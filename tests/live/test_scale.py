"""The cost of many containers, events and engines, in counts and memory, because times depend on the machine.

More of each with PILOTAGE_SCALE_CONTAINERS, _EVENTS and _ENGINES; ``--log-cli-level=info`` shows the numbers.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from pilotage import discover
from pilotage.discovery.timing import Timing
from pilotage.engine.config import DockerProviderConfig
from pilotage.testing import FakeEngine, container
from tests.support.leaks import assert_no_leaks
from tests.support.truth import chronicle, settled
from tests.support.waiting import until

pytestmark = pytest.mark.slow

log = logging.getLogger(__name__)

CONTAINERS = int(os.environ.get("PILOTAGE_SCALE_CONTAINERS", "10000"))
EVENTS = int(os.environ.get("PILOTAGE_SCALE_EVENTS", "20000"))
ENGINES = int(os.environ.get("PILOTAGE_SCALE_ENGINES", "40"))


def resident() -> float:
    """Return the memory of this process in MB, without what the allocator keeps for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def config(engine: FakeEngine, name: str = "local") -> DockerProviderConfig:
    return DockerProviderConfig(engine.url, name=name)


async def test_an_event_costs_at_most_one_filtered_list_for_any_number_of_containers() -> None:
    chance = random.Random(7)
    fleet = [container(f"app{n}", labels={"proxy.aliases": f"app{n}", "tier": str(n % 3)}) for n in range(CONTAINERS)]
    async with FakeEngine(fleet) as engine, assert_no_leaks():
        async with discover([config(engine)], timing=Timing(reconcile=86_400)) as discovery:
            await discovery.ready()
            assert len(discovery.table.routes) == CONTAINERS
            watcher = discovery.watcher("local")
            async with chronicle(discovery) as told:
                busy, relevant, memory = fleet[: CONTAINERS // 2], 0, 0.0
                for n in range(EVENTS):
                    it = chance.choice(busy)
                    if n % 2:
                        engine.exec(it)  # three irrelevant events
                    elif it.state == "paused":
                        engine.unpause(it)
                        relevant += 1
                    else:
                        engine.pause(it)
                        relevant += 1
                    if n % 50 == 0:
                        await asyncio.sleep(0)
                    if n % 1000 == 0:
                        await until(lambda: not watcher._pending)
                        told.changes.clear()
                    if n == EVENTS // 2:
                        engine.requests.clear()
                        memory = resident()
                await settled(discovery, config(engine), patience=30)
                engine.requests.clear()
                growth = resident() - memory
                log.info("%d events: %d looks, %.0f MB, %+.1f MB", relevant, watcher.refreshes, memory, growth)
                assert watcher.lists == 1
                assert watcher.refreshes <= relevant
                assert engine.calls["inspect"] == 0
                assert watcher.events == relevant  # the engine filters out the others
                assert growth < 10, f"{growth} MB more after {EVENTS // 2} more events"
                assert told.untouched(f"app{n}" for n in range(CONTAINERS // 2, CONTAINERS))


async def test_removed_containers_free_their_memory() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            watcher = discovery.watcher("local")
            rounds = max(2, EVENTS // 2000)
            sizes = []
            for _ in range(rounds):
                for _ in range(5):
                    jobs = [engine.add("job", labels={"proxy.#1.port": "x"}) for _ in range(20)]
                    await until(lambda: len(discovery.table.problems_by_key) >= 20)
                    for it in jobs:
                        engine.remove(it)
                    await until(lambda: set(discovery.table.routes) == {"web"} and not watcher._pending)
                store, state = discovery.store, watcher.state
                books = [*vars(store).values(), *vars(state).values(), *vars(watcher).values()]
                sizes.append(sum(len(book) for book in books if isinstance(book, dict | set)))
            assert len(set(sizes)) == 1, sizes


async def test_many_engines_are_watched_by_one_process() -> None:
    chance = random.Random(11)
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(FakeEngine([container(f"app{n}-{m}") for m in range(50)]))
            for n in range(ENGINES)
        ]
        configs = [config(engine, f"engine{n}") for n, engine in enumerate(engines)]
        async with discover(configs) as discovery:
            await discovery.ready()
            assert len(discovery.table.routes) == ENGINES * 50
            async with chronicle(discovery) as told:
                for _ in range(ENGINES):
                    engine = chance.choice(engines[1:])
                    name = chance.choice([it.name for it in engine.containers.values() if it.state == "running"])
                    engine.pause(name)
                    await until(lambda name=name: discovery.table.routes[name].excluded)  # type: ignore[misc]
                engines[-1].crash()
                await until(lambda: discovery.table.engines[f"engine{ENGINES - 1}"].state == "stale")
                await engines[-1].recover()
                await settled(discovery, *configs, patience=30)
                assert told.untouched(f"app0-{m}" for m in range(50))
            assert sum(discovery.watcher(each.name).lists for each in configs) == ENGINES + 1
            log.info("%d engines: %.0f MB", ENGINES, resident())
        for engine in engines:
            await engine.until(lambda engine=engine: engine.connections == 0)  # type: ignore[misc]
