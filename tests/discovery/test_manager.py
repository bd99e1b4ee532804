"""Many engines in one live table, while engines are added and removed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pilotage import discover
from pilotage.core.errors import EngineUnreachable, PilotageError
from pilotage.discovery.manager import DiscoveryManager
from pilotage.engine.pool import Pool
from pilotage.routes.route import EndpointHealth
from pilotage.testing import FakeEngine, container
from tests.support.discoveries import COMPOSE, NOWHERE, QUICK, config, endpoints
from tests.support.leaks import assert_no_leaks
from tests.support.truth import chronicle, settled
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

# ---- the table


async def test_the_routes_of_all_engines_are_in_one_table() -> None:
    async with FakeEngine([container("web")]) as one, FakeEngine([container("db")], flavour="podman") as two:
        both = [config(one, "one"), config(two, "two")]
        async with assert_no_leaks(), discover(both) as discovery:
            await discovery.ready()
            assert {route.provider for route in discovery.table.routes.values()} == {"one", "two"}
            assert {status.state for status in discovery.table.engines.values()} == {"live"}
            assert [snapshot.config.name for snapshot in discovery.snapshots()] == ["one", "two"]
            addresses = [it.private_hostname for each in discovery.snapshots() for it in each.containers]
            assert {it.container_name for it in discovery.containers_at(addresses)} == {"web", "db"}
            assert discovery.containers_at(["192.0.2.1"]) == []
            await settled(discovery, *both)


async def test_ready_waits_for_the_first_list_of_each_engine() -> None:
    async with FakeEngine([container("web")]) as one, FakeEngine([container("db")]) as two:
        two.stall()
        async with discover([config(one, "one"), config(two, "two")]) as discovery:
            await discovery.ready("one")
            assert set(discovery.table.routes) == {"web"}
            assert discovery.table.engines["two"].state == "pending"
            two.resume()
            await discovery.ready()
            assert set(discovery.table.routes) == {"web", "db"}


async def test_ready_can_skip_engines_that_are_away() -> None:
    async with FakeEngine([container("web")]) as one:
        async with discover([config(one), NOWHERE], timing=QUICK) as discovery:
            await discovery.ready(or_away=True)
            assert set(discovery.table.routes) == {"web"}
            status = discovery.table.engines["nowhere"]
            assert status.state == "stale"
            assert "/nonexistent/engine.sock" in status.error
            (problem,) = discovery.table.problems
            assert problem.provider == "nowhere"


# ---- adding and removing engines


async def test_engines_are_added_and_removed_while_it_runs() -> None:
    async with FakeEngine([container("web")]) as one, FakeEngine([container("db")]) as two, assert_no_leaks():
        async with discover([config(one, "one")]) as discovery:
            discovery.add(config(two, "two"))
            await discovery.ready()
            async with chronicle(discovery) as told:
                await discovery.remove("one")
                assert set(discovery.table.routes) == {"db"}
                assert set(discovery.table.engines) == {"two"}
                await until(lambda: told.about("web") == ["removed"])
                assert told.changes[0].cause == "engine one removed"
                assert told.untouched(["db"])
            await one.until(lambda: one.streams == 0)  # so nothing can report what happens now
            one.add("late")
            assert set(discovery.table.routes) == {"db"}


async def test_a_cancelled_removal_still_removes_the_engine() -> None:
    async with FakeEngine([container("web")]) as engine, assert_no_leaks():
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            removing = asyncio.create_task(discovery.remove("local"))
            await asyncio.sleep(0)
            removing.cancel()
            await asyncio.wait([removing])
            assert (len(discovery.table.routes), len(discovery.table.engines)) == (0, 0)
            discovery.add(config(engine))
            await discovery.ready()
            assert set(discovery.table.routes) == {"web"}


async def test_nobody_waits_for_an_engine_that_was_removed() -> None:
    async with discover([NOWHERE], timing=QUICK) as discovery:
        waiting = asyncio.create_task(discovery.ready())
        await asyncio.sleep(0)
        await discovery.remove("nowhere")
        await asyncio.wait_for(waiting, 5)


async def test_a_new_engine_is_in_the_table_at_once() -> None:
    async with FakeEngine() as engine, assert_no_leaks():
        engine.stall()
        async with discover([]) as discovery:
            discovery.add(config(engine))
            assert discovery.table.engines["local"].state == "pending"


async def test_adding_an_engine_twice_leaves_the_first_one_alone() -> None:
    async with FakeEngine([container("web")]) as engine, assert_no_leaks():
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            with pytest.raises(PilotageError, match="an engine called 'local' is already being watched"):
                discovery.add(config(engine))
            discovery.publish()
            assert discovery.table.engines["local"].state == "live"


async def test_route_files_replaced_twice_at_once_leave_one_watcher(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yml").write_text(f"{name}: {{host: 10.0.0.9}}")
    async with assert_no_leaks():
        async with discover([], files=[str(tmp_path / "none.yml")]) as discovery:
            async with asyncio.TaskGroup() as group:
                for name in ("a", "b"):
                    group.create_task(discovery.use_files([str(tmp_path / f"{name}.yml")]))
            assert set(discovery.table.routes) == {"b"}
            assert [task.get_name() for task in asyncio.all_tasks()].count("watch route files") == 1


async def test_two_engines_with_one_name_are_an_error() -> None:
    async with FakeEngine() as engine, assert_no_leaks():
        with pytest.raises(PilotageError, match="an engine called 'local' is already being watched"):
            async with discover([config(engine), config(engine)]):
                pytest.fail("discover accepted two engines with one name")


async def test_an_unknown_engine_is_an_error_that_lists_the_known_ones() -> None:
    async with discover([NOWHERE], timing=QUICK) as discovery:
        with pytest.raises(PilotageError, match="no engine called 'loca' is being watched; known engines: nowhere"):
            discovery.watcher("loca")


# ---- shutdown


async def test_an_exception_of_the_caller_is_not_wrapped() -> None:
    async with FakeEngine([container("web")]) as engine, assert_no_leaks():
        with pytest.raises(KeyError, match="mine"):  # noqa: PT012
            async with discover([config(engine)]) as discovery:
                await discovery.ready()
                raise KeyError("mine")


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_cancelling_a_discovery_at_any_point_leaks_nothing(steps: int) -> None:
    web = container("web")
    async with FakeEngine([web]) as engine:

        async def use() -> None:
            async with discover([config(engine), NOWHERE]) as discovery:
                async for _ in discovery:
                    engine.restart(web)
                    await discovery.ready("local")

        async with assert_no_leaks():
            task = asyncio.create_task(use())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        await engine.until(lambda: engine.connections == 0)


async def test_the_pool_of_the_caller_stays_open() -> None:
    async with FakeEngine([container("web")]) as engine, Pool() as pool:
        for _ in range(2):
            async with discover([config(engine)], pool=pool) as discovery:
                await discovery.ready()
        assert engine.calls["version"] == 1


async def test_ready_has_a_limit_and_says_who_is_missing_and_why() -> None:
    async with FakeEngine([container("web")]) as engine, FakeEngine() as slow, assert_no_leaks():
        slow.stall()
        async with discover([config(engine), NOWHERE, config(slow, "slow")], timing=QUICK) as discovery:
            await discovery.ready("local", "nowhere", or_away=True)
            with pytest.raises(EngineUnreachable) as failed:
                await discovery.ready(timeout=0.05)
            assert failed.value.what.startswith(
                "not listed within 0.05 s: no socket at /nonexistent/engine.sock; start"
            )
            assert failed.value.what.endswith("; also missing: slow")
            with pytest.raises(EngineUnreachable, match=r"slow: not listed within 0.05 s: it has not responded yet"):
                await discovery.ready("slow", or_away=True, timeout=0.05)
            await discovery.ready("local", timeout=0)


async def test_nobody_waits_across_the_end_of_a_discovery() -> None:
    async with FakeEngine([container("web")]) as engine, assert_no_leaks():
        async with discover([config(engine), NOWHERE], timing=QUICK) as discovery:
            await discovery.ready("local")
            waiting = asyncio.create_task(discovery.ready())
            await asyncio.sleep(0)
        with pytest.raises(PilotageError, match="discovery was closed before these engines were listed: nowhere"):
            await asyncio.wait_for(waiting, 5)
        with pytest.raises(PilotageError, match="discovery was closed before"):
            await asyncio.wait_for(discovery.ready(), 5)
        await asyncio.wait_for(discovery.ready("local"), 5)


async def test_a_closed_discovery_can_still_be_read_but_not_changed() -> None:
    async with FakeEngine([container("web")]) as engine, assert_no_leaks():
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
        async with asyncio.timeout(5):
            (update,) = [update async for update in discovery]
        assert set(update.new.routes) == {"web"}
        with pytest.raises(PilotageError, match="discovery is closed"):
            discovery.add(NOWHERE)
        for change in (discovery.use_files([]), discovery.apply_config([], [])):
            with pytest.raises(PilotageError, match="discovery is closed"):
                await change


async def test_subscribers_end_even_if_closing_is_cancelled_twice() -> None:
    async with FakeEngine([container("web")]) as engine, assert_no_leaks():
        async with asyncio.TaskGroup() as group:
            held = asyncio.Event()
            discovery = DiscoveryManager(pool=Pool(), group=group)

            async def watch_stubbornly() -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    await held.wait()

            discovery.add(config(engine))
            await discovery.ready()
            provider = discovery._providers["local"]
            assert provider.task is not None
            provider.task.cancel()
            provider.task = group.create_task(watch_stubbornly())
            reader = group.create_task(drained(discovery))
            await asyncio.sleep(0)
            closing = asyncio.create_task(discovery.close())
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            assert await asyncio.wait_for(reader, 5) == 1
            held.set()
            await discovery.pool.close()


async def drained(discovery: DiscoveryManager) -> int:
    """Count the updates until the end."""
    return len([update async for update in discovery])


# ---- conflicts in a live table (LABELS, decision 23)


async def test_the_oldest_container_keeps_an_alias_until_it_is_removed() -> None:
    labels = {"proxy.aliases": "shop"}
    async with FakeEngine([container("first", labels=labels, created=100)]) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            async with chronicle(discovery) as told:
                engine.add("second", labels=labels, created=200)
                await until(lambda: discovery.table.problems)
                (conflict,) = discovery.table.problems
                assert (conflict.container, conflict.route) == ("second", "shop")
                assert "belongs to first" in conflict.message
                assert endpoints(discovery, "shop") == {"first": "ready"}
                engine.stop("first")
                await until(lambda: endpoints(discovery, "shop") == {"second": "ready"})
                assert discovery.table.problems == ()
                engine.start("first")  # it is still the older one, so it takes its alias back
                await until(lambda: endpoints(discovery, "shop") == {"first": "ready"})
                await until(lambda: discovery.table.problems)
                engine.remove("first")
                await until(lambda: endpoints(discovery, "shop") == {"second": "ready"})
                await until(lambda: told.kinds("conflict", "resolved") == ["conflict", "resolved"] * 2)
                assert told.kinds("removed") == []  # the alias always had a route
                await settled(discovery, config(engine))


async def test_conflicts_are_resolved_across_engines() -> None:
    one, two = container("web", created=200), container("web", created=100)
    async with FakeEngine([one]) as first, FakeEngine([two]) as second:
        both = [config(first, "first"), config(second, "second")]
        async with discover(both, timing=QUICK) as discovery:
            await discovery.ready()
            assert discovery.table.routes["web"].provider == "first"
            (conflict,) = discovery.table.problems
            assert "belongs to first/web, whose engine comes first" in conflict.message
            first.crash()
            await until(lambda: discovery.table.engines["first"].state == "stale")
            assert discovery.table.routes["web"].provider == "first"  # an unreachable engine keeps its routes
            await discovery.remove("first")
            assert discovery.table.routes["web"].provider == "second"
            assert discovery.table.problems == ()


async def test_replicas_come_and_go_within_one_route() -> None:
    async with FakeEngine([container("api-1", labels=COMPOSE, created=100)]) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            async with chronicle(discovery) as told:
                engine.add("api-2", labels=COMPOSE, created=200)
                engine.add("api-3", labels=COMPOSE, created=300)
                await until(lambda: len(endpoints(discovery, "api")) == 3)
                assert discovery.table.problems == ()
                engine.stop("api-1")
                await until(lambda: set(endpoints(discovery, "api")) == {"api-2", "api-3"})
                engine.remove("api-1")
                engine.remove("api-2")
                await until(lambda: set(endpoints(discovery, "api")) == {"api-3"})
                engine.add("intruder", labels={"proxy.aliases": "api"}, created=400)
                await until(lambda: discovery.table.problems)
                await settled(discovery, config(engine))
                assert {"removed", "added"}.isdisjoint(told.about("api"))


# ---- probe results


async def test_probe_results_are_published_together_with_changes() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            slow = discovery.subscribe()
            seen = (await anext(slow)).new
            address = seen.routes["web"].endpoints[0].address
            discovery.set_health({"web": {address: EndpointHealth("pending")}})
            assert discovery.table.health_of("web")[address].state == "pending"
            engine.add("new")
            await until(lambda: "new" in discovery.table.routes)
            new = discovery.table.routes["new"].endpoints[0].address
            discovery.set_health({"new": {new: EndpointHealth("healthy")}})
            update = await anext(slow)
            # A pending probe is not a change, so the update starts from the table that was delivered last.
            assert update.old is seen
            assert [(c.kind, c.alias, c.cause) for c in update.changes] == [
                ("added", "new", "start of new"),
                ("health", "new", f"new at {new} passes the gateway's probe"),
            ]


async def test_a_table_without_visible_changes_is_not_published() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            subscription = discovery.subscribe()
            seen = (await anext(subscription)).new
            address = seen.routes["web"].endpoints[0].address
            waiting = asyncio.create_task(anext(subscription))
            discovery.set_health({"web": {address: EndpointHealth("pending")}})
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not waiting.done()
            discovery.set_health({"web": {address: EndpointHealth("unhealthy")}})
            update = await waiting
            assert update.old is seen
            assert [change.kind for change in update.changes] == ["health"]


async def test_a_long_list_is_never_shown_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.discovery.watcher._BATCH", 2)
    async with FakeEngine([container(f"app{n}") for n in range(15)]) as engine:
        async with discover([]) as discovery:
            discovery.add(config(engine))
            seen: set[int] = set()
            while not seen or max(seen) == 0:
                discovery.set_health({})  # as any other engine's event, it publishes what is complete
                seen.add(len(discovery.table.routes))
                await asyncio.sleep(0)
            assert seen == {0, 15}


async def test_an_engine_that_is_removed_while_it_hands_over_its_list_does_not_hold_up_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pilotage.discovery.watcher._BATCH", 2)
    async with FakeEngine([container(f"app{n}") for n in range(15)]) as engine, FakeEngine([container("web")]) as other:
        async with discover([config(engine, "big")]) as discovery:
            while not discovery.store._incomplete:  # noqa: ASYNC110  # to stop exactly there
                await asyncio.sleep(0)
            await discovery.remove("big")
            discovery.add(config(other, "small"))
            await discovery.ready()
            assert set(discovery.table.routes) == {"web"}
