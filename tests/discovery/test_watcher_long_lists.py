"""Lists of many containers are handled in batches and published at once."""

from __future__ import annotations

import asyncio

from pilotage.discovery.events import ContainerEvent, Effect
from pilotage.discovery.watcher import EngineWatcher
from pilotage.testing import FakeEngine, container
from tests.support.watched import Watch


async def test_other_tasks_run_while_a_long_list_is_handled() -> None:
    async with FakeEngine([container(f"app{n}") for n in range(1200)]) as engine:
        watch = Watch(engine)
        sizes: set[int] = set()

        async def feel() -> None:
            while True:
                sizes.add(len(watch.state))
                await asyncio.sleep(0)

        feeling = asyncio.create_task(feel())
        async with watch.running():
            feeling.cancel()
        assert sizes >= {0, 100, 500, 1000}
        assert watch.told.batches == [True] * 11 + [False]  # published at once


async def test_a_long_list_that_is_cut_off_halfway_is_published_as_far_as_it_got() -> None:
    async with FakeEngine([container(f"app{n}") for n in range(1200)]) as engine:
        watch = Watch(engine)
        task = asyncio.create_task(watch.watcher.run())
        while not len(watch.state):  # noqa: ASYNC110  # to stop exactly there
            await asyncio.sleep(0)
        known = len(watch.state)
        task.cancel()
        await asyncio.wait([task])
        assert known == 100
        assert set.union(*(set(changes) for _, changes, _ in watch.told.changes)) == set(watch.state.built)
        assert watch.told.batches[-1] is False
        watch.watcher = EngineWatcher(watch.watcher.config, watch.state, watch.told, pool=watch.pool)
        async with watch.running():
            assert watch.is_true()
        assert len(set.union(*(set(changes) for _, changes, _ in watch.told.changes))) == 1200


async def test_a_watcher_that_is_stopped_twice_while_it_hands_over_a_long_list_still_publishes_it() -> None:
    async with FakeEngine([container(f"app{n}") for n in range(1200)]) as engine:
        watch = Watch(engine)
        task = asyncio.create_task(watch.watcher.run())
        while not watch.told.batches:  # noqa: ASYNC110  # to stop exactly there
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert set.union(*(set(changes) for _, changes, _ in watch.told.changes)) == set(watch.state.built)
        assert watch.told.batches[-1] is False


async def test_an_event_during_the_hand_over_of_a_long_list_is_not_undone_by_it() -> None:
    async with FakeEngine([container(f"app{n}") for n in range(1200)]) as engine:
        watch = Watch(engine)
        task = asyncio.create_task(watch.watcher.run())
        while not watch.told.batches:  # noqa: ASYNC110  # the first batch has been handed over
            await asyncio.sleep(0)
        gone = list(watch.state.built)[-1]
        watch.watcher._handle(ContainerEvent(gone, Effect.REMOVED, "destroy", "x"))
        while watch.told.batches[-1]:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert [changes[gone] for _, changes, _ in watch.told.changes if gone in changes][-1] is None
        task.cancel()
        await asyncio.wait([task])
