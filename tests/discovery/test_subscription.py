"""Updates for slow, dropped, cancelled and waiting subscribers."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from pilotage import Problem, discover
from pilotage.discovery.subscription import Subscription
from pilotage.engine.pool import Pool
from pilotage.routes.build import Built
from pilotage.table.store import RouteStore
from pilotage.table.table import Table
from pilotage.testing import FakeEngine, container
from tests.support.claims import claim
from tests.support.discoveries import config
from tests.support.leaks import assert_no_leaks
from tests.support.truth import settled
from tests.support.virtual import VirtualEngine
from tests.support.waiting import until

if TYPE_CHECKING:
    from pilotage.discovery.manager import DiscoveryManager
    from pilotage.discovery.update import Update


async def test_an_update_has_the_old_table_the_new_one_and_the_changes() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            updates = aiter(discovery)
            first = await anext(updates)
            assert (len(first.old.routes), set(first.new.routes)) == (0, {"web"})
            assert [change.kind for change in first.changes] == ["live", "added"]
            engine.pause("web")
            second = await anext(updates)
            assert second.old is first.new
            assert second.new.version > second.old.version
            (change,) = second.changes
            assert (change.kind, change.alias, change.cause) == ("updated", "web", "pause of web")
            assert {"excluded", "endpoints"} <= set(change.fields)
            assert not first.new.routes["web"].excluded  # the old table has not changed
            await updates.aclose()


async def test_a_slow_subscriber_gets_the_newest_table_and_merged_changes() -> None:
    async with FakeEngine([container("web"), container("app")]) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            slow = discovery.subscribe()
            seen = (await anext(slow)).new
            engine.pause("web")
            await until(lambda: discovery.table.routes["web"].excluded)
            engine.unpause("web")
            engine.remove("app")
            engine.add("new")
            await until(lambda: not discovery.table.routes["web"].excluded and "app" not in discovery.table.routes)
            await settled(discovery, config(engine))
            update = await anext(slow)
            assert update.old is seen
            assert update.new is discovery.table
            assert {(c.kind, c.alias) for c in update.changes} == {("removed", "app"), ("added", "new")}


@pytest.mark.slow
@pytest.mark.looptime
async def test_a_subscriber_that_never_reads_has_bounded_memory() -> None:
    engine = VirtualEngine([container("web")])
    async with Pool(connect=engine.connection) as pool, discover([config(engine)], pool=pool) as discovery:
        await discovery.ready()
        asleep = discovery.subscribe()
        await anext(asleep)
        for n in range(3000):
            engine.add(f"job{n}", labels={"prxy": "odd"}, networks=())
            await until(lambda n=n: f"job{n}" in discovery.table.routes)  # type: ignore[misc]
            engine.remove(f"job{n}")
        await until(lambda: set(discovery.table.routes) == {"web"})
        assert len(asleep._aliases) < 1100
        assert len(asleep._keys) < 1100


async def test_a_dropped_subscription_is_removed() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            async for _ in discovery:
                break
            dropped = discovery.subscribe()
            await anext(dropped)
            del dropped
            await asyncio.sleep(0)
            gc.collect()
            await until(lambda: not len(discovery._subscriptions))


async def test_waiting_subscribers_end_with_the_discovery() -> None:
    async with FakeEngine([container("web")]) as engine, assert_no_leaks():
        updates: list[Update] = []

        async def read(discovery: DiscoveryManager) -> None:
            async for update in discovery:
                updates.append(update)  # noqa: PERF401  # a comprehension would hide each await

        async with discover([config(engine)]) as discovery:
            reader = asyncio.create_task(read(discovery))
            await until(lambda: updates)
        await asyncio.wait_for(reader, 5)
        assert set(updates[-1].new.routes) == {"web"}


async def test_a_cancelled_reader_loses_no_update() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            subscription = discovery.subscribe()
            await anext(subscription)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(subscription), 0.01)
            engine.pause("web")
            assert (await anext(subscription)).changes[0].alias == "web"


async def test_other_tasks_run_while_many_changes_are_compared_and_a_cancelled_reader_loses_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pilotage.discovery.subscription._BATCH", 10)
    store = RouteStore()
    for number in range(35):
        store.set_routes(("local", f"{number}"), Built((claim(alias=f"app{number}"),)), "start")
    store.commit()
    subscription = Subscription(store)
    reader = asyncio.ensure_future(anext(subscription))
    for _ in range(2):
        await asyncio.sleep(0)
        assert not reader.done()
    reader.cancel()
    await asyncio.wait([reader])
    store.set_routes(("local", "0"), None, "stop")
    subscription.notify({"app0": "stop"}, [])
    store.commit()
    update = await anext(subscription)
    assert {change.alias for change in update.changes} == {f"app{number}" for number in range(1, 35)}
    assert {change.kind for change in update.changes} == {"added"}


async def test_changes_of_what_is_in_neither_table_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.discovery.subscription._PRUNE_AT", 10)
    store = RouteStore()
    store.set_routes(("local", "web"), Built((claim("web"),)))
    store.set_problems(("local", "web"), [Problem(message="odd")])
    committed = store.commit()
    subscription = Subscription(store)
    for number in range(100):
        subscription.notify({f"app{number}": "start"}, [("local", f"app{number}")])
        assert len(subscription._aliases) <= 12
        assert len(subscription._keys) <= 12
    update = await anext(subscription)
    assert update.new is committed.table
    assert [change.kind for change in update.changes] == ["added", "problem"]


def test_what_waits_is_searched_only_once_it_is_more_than_the_tables_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(dict[Any, Any]):
        searched = 0

        def __contains__(self, key: object) -> bool:
            self.searched += 1
            return super().__contains__(key)

    monkeypatch.setattr("pilotage.discovery.subscription._PRUNE_AT", 10)
    routes = Counted({f"app{number}": claim(f"app{number}") for number in range(20)})
    problems = Counted({("local", f"app{number}"): () for number in range(20)})
    store = RouteStore()
    subscription = Subscription(store)
    store._table = Table(routes, problems_by_key=problems)
    for number in range(50):  # 10 + 2 * 20
        subscription.notify({f"app{number}": "start"}, [("local", f"app{number}")])
    assert (routes.searched, problems.searched) == (0, 0)
    assert (len(subscription._aliases), len(subscription._keys)) == (50, 50)
    subscription.notify({"app": "start"}, [("local", "app")])
    assert (len(subscription._aliases), len(subscription._keys)) == (20, 20)
