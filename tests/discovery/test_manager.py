"""Many engines, one live table: what subscribers are told, and what happens when engines and readers come and go."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from pilotage import discover
from pilotage.core.errors import PilotageError
from pilotage.discovery.watcher import Timing
from pilotage.engine.address import DockerProviderConfig
from pilotage.engine.pool import Pool
from pilotage.routes.route import EndpointHealth
from pilotage.testing import FakeEngine, container
from tests.support.leaks import assert_no_leaks
from tests.support.truth import chronicle, settled
from tests.support.virtual import VirtualEngine
from tests.support.waiting import until

if TYPE_CHECKING:
    from pilotage.discovery.manager import Discovery, Update

QUICK = Timing(first_pause=0.02, longest_pause=0.05, pause_after_session=0.02)
NOWHERE = DockerProviderConfig("unix:///nonexistent/engine.sock", name="nowhere")
COMPOSE = {"com.docker.compose.project": "shop", "com.docker.compose.service": "api", "proxy.aliases": "api"}


def config(engine: FakeEngine, name: str = "local") -> DockerProviderConfig:
    return DockerProviderConfig(engine.url, name=name)


def endpoints(discovery: Discovery, alias: str) -> dict[str, str]:
    return {e.container: e.state for e in discovery.table.routes[alias].endpoints}


# ---- the table


async def test_the_routes_of_all_engines_are_in_one_table() -> None:
    async with FakeEngine([container("web")]) as one, FakeEngine([container("db")], flavour="podman") as two:
        both = [config(one, "one"), config(two, "two")]
        async with assert_no_leaks(), discover(both) as discovery:
            await discovery.ready()
            assert {route.provider for route in discovery.table.routes.values()} == {"one", "two"}
            assert {status.state for status in discovery.table.engines.values()} == {"live"}
            assert [roster.config.name for roster in discovery.rosters()] == ["one", "two"]
            await settled(discovery, *both)


async def test_each_engine_says_when_it_is_complete() -> None:
    async with FakeEngine([container("web")]) as one, FakeEngine([container("db")]) as two:
        two.stall()
        async with discover([config(one, "one"), config(two, "two")]) as discovery:
            await discovery.ready("one")
            assert set(discovery.table.routes) == {"web"}
            assert discovery.table.engines["two"].state == "pending"
            two.resume()
            await discovery.ready()
            assert set(discovery.table.routes) == {"web", "db"}


async def test_who_can_do_without_an_engine_need_not_wait_for_it() -> None:
    async with FakeEngine([container("web")]) as one:
        async with discover([config(one), NOWHERE], timing=QUICK) as discovery:
            await discovery.ready(or_away=True)
            assert set(discovery.table.routes) == {"web"}
            status = discovery.table.engines["nowhere"]
            assert status.state == "stale"
            assert "/nonexistent/engine.sock" in status.error
            (problem,) = discovery.table.problems
            assert problem.provider == "nowhere"


async def test_an_engine_without_a_name_goes_by_its_address() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([DockerProviderConfig(engine.url)], timing=QUICK) as discovery:
            await discovery.ready()
            route = discovery.table.routes["web"]
            assert route.provider == engine.url
            engine.crash()
            await until(lambda: discovery.table.stale_since(route))


async def test_while_an_engine_is_away_its_routes_stay_and_are_stale_since_then() -> None:
    async with FakeEngine([container("web")]) as one, FakeEngine([container("db")]) as two:
        both = [config(one, "one"), config(two, "two")]
        async with discover(both, timing=QUICK) as discovery:
            await discovery.ready()
            async with chronicle(discovery) as told:
                web = discovery.table.routes["web"]
                one.crash()
                await until(lambda: discovery.table.engines["one"].state == "stale")
                since = discovery.table.engines["one"].since
                accepted = discovery.watcher("one").sessions
                await asyncio.sleep(0.3)
                assert discovery.table.engines["one"].since == since == discovery.table.stale_since(web)
                assert discovery.table.routes["web"] is web
                assert discovery.table.stale_since(discovery.table.routes["db"]) is None
                assert any(problem.provider == "one" for problem in discovery.table.problems)
                await one.recover()
                await settled(discovery, *both)
                await until(lambda: told.kinds("stale", "live") == ["stale", "live"])
                assert told.untouched(["web", "db"])
                assert discovery.watcher("one").sessions == accepted + 1
                assert discovery.table.problems == ()


async def test_empty_is_believed_when_the_engine_says_so() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([config(engine)], timing=QUICK) as discovery:
            await discovery.ready()
            engine.crash()
            await until(lambda: discovery.table.engines["local"].state == "stale")
            assert set(discovery.table.routes) == {"web"}
            engine.remove("web")
            await engine.recover()
            await until(lambda: not discovery.table.routes)


# ---- who listens


async def test_a_subscriber_is_told_old_and_new_and_what_changed() -> None:
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
            assert not first.new.routes["web"].excluded  # the old table is as it was
            await updates.aclose()


async def test_a_slow_subscriber_gets_the_newest_table_and_the_sum_of_the_changes() -> None:
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


@pytest.mark.looptime
async def test_a_subscriber_that_never_reads_costs_no_more_memory_than_the_tables() -> None:
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


async def test_a_subscriber_that_is_dropped_is_forgotten() -> None:
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


async def test_whoever_waits_for_a_change_is_let_go_when_the_discovery_ends() -> None:
    async with FakeEngine([container("web")]) as engine, assert_no_leaks():
        updates: list[Update] = []

        async def read(discovery: Discovery) -> None:
            async for update in discovery:
                updates.append(update)  # noqa: PERF401  # one at a time, as they come

        async with discover([config(engine)]) as discovery:
            reader = asyncio.create_task(read(discovery))
            await until(lambda: updates)
        await asyncio.wait_for(reader, 5)
        assert set(updates[-1].new.routes) == {"web"}


async def test_a_reader_that_gives_up_waiting_loses_nothing() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            subscription = discovery.subscribe()
            await anext(subscription)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(subscription), 0.01)
            engine.pause("web")
            assert (await anext(subscription)).changes[0].alias == "web"


# ---- engines come and go


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
            one.add("late")
            await asyncio.sleep(0.05)
            assert set(discovery.table.routes) == {"db"}


async def test_a_removal_that_is_cancelled_leaves_no_half_of_the_engine() -> None:
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


async def test_two_engines_of_one_name_are_refused() -> None:
    async with FakeEngine() as engine, assert_no_leaks():
        with pytest.raises(PilotageError, match="an engine called 'local' is being watched already"):
            async with discover([config(engine), config(engine)]):
                pytest.fail("there is nothing to see")


async def test_an_engine_that_is_not_there_is_named_with_those_that_are() -> None:
    async with discover([NOWHERE], timing=QUICK) as discovery:
        with pytest.raises(PilotageError, match="no engine called 'loca' is being watched; there is nowhere"):
            discovery.watcher("loca")


# ---- the end


async def test_an_error_of_the_callers_own_comes_out_as_it_went_in() -> None:
    async with FakeEngine([container("web")]) as engine, assert_no_leaks():
        with pytest.raises(KeyError, match="mine"):  # noqa: PT012
            async with discover([config(engine)]) as discovery:
                await discovery.ready()
                raise KeyError("mine")


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_a_discovery_that_is_cancelled_anywhere_leaves_nothing_behind(steps: int) -> None:
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


async def test_a_pool_of_the_callers_own_stays_open() -> None:
    async with FakeEngine([container("web")]) as engine, Pool() as pool:
        for _ in range(2):
            async with discover([config(engine)], pool=pool) as discovery:
                await discovery.ready()
        assert engine.calls["version"] == 1


# ---- who gets an alias, live (decision 23)


async def test_the_oldest_keeps_an_alias_and_the_next_takes_over_when_it_goes() -> None:
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
                engine.start("first")  # it is older still, and takes its alias back
                await until(lambda: endpoints(discovery, "shop") == {"first": "ready"})
                await until(lambda: discovery.table.problems)
                engine.remove("first")
                await until(lambda: endpoints(discovery, "shop") == {"second": "ready"})
                await until(lambda: told.kinds("conflict", "resolved") == ["conflict", "resolved"] * 2)
                assert told.kinds("removed") == []  # somebody always answered
                await settled(discovery, config(engine))


async def test_an_alias_is_settled_across_engines_too() -> None:
    one, two = container("web", created=200), container("web", created=100)
    async with FakeEngine([one]) as young, FakeEngine([two]) as old:
        both = [config(young, "young"), config(old, "old")]
        async with discover(both, timing=QUICK) as discovery:
            await discovery.ready()
            assert discovery.table.routes["web"].provider == "old"
            (conflict,) = discovery.table.problems
            assert "belongs to old/web" in conflict.message
            old.crash()
            await until(lambda: discovery.table.engines["old"].state == "stale")
            assert discovery.table.routes["web"].provider == "old"  # away is not gone
            await discovery.remove("old")
            assert discovery.table.routes["web"].provider == "young"
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


# ---- health, and being about to stop


async def test_a_container_joins_when_healthy_and_stays_when_it_is_the_only_one() -> None:
    async with FakeEngine(api="1.52") as engine:
        async with discover([config(engine)]) as discovery:
            engine.add("web", health="starting")
            await until(lambda: "web" in discovery.table.routes and discovery.table.routes["web"].endpoints)
            route = discovery.table.routes["web"]
            assert route.serving == ()
            assert route.remark == "web: its health check has not passed yet; no endpoint takes requests"
            engine.health("web", "healthy")
            await until(lambda: endpoints(discovery, "web") == {"web": "ready"})
            assert discovery.table.routes["web"].remark == ""
            engine.health("web", "unhealthy")
            await until(lambda: endpoints(discovery, "web") == {"web": "unhealthy"})
            route = discovery.table.routes["web"]
            assert route.serving == route.endpoints
            assert route.remark == "web: its health check fails; requests go there for want of a better one"


async def test_an_unhealthy_replica_leaves_while_another_is_well() -> None:
    replicas = [container(f"api-{n}", labels=COMPOSE, created=n, health="healthy") for n in (1, 2)]
    async with FakeEngine(replicas) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            engine.health("api-1", "unhealthy")
            await until(lambda: endpoints(discovery, "api")["api-1"] == "unhealthy")
            route = discovery.table.routes["api"]
            assert [e.container for e in route.serving] == ["api-2"]
            assert route.remark == "api-1: its health check fails"


async def test_a_container_that_is_stopped_is_told_to_drain_before_it_goes() -> None:
    replicas = [container(f"api-{n}", labels=COMPOSE, created=n) for n in (1, 2)]
    async with FakeEngine(replicas) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            async with chronicle(discovery) as told:
                engine._tell(engine._the("api-1"), "kill", signal="15")
                await until(lambda: endpoints(discovery, "api") == {"api-1": "draining", "api-2": "ready"})
                assert [e.container for e in discovery.table.routes["api"].serving] == ["api-2"]
                engine.die("api-1")
                await until(lambda: set(endpoints(discovery, "api")) == {"api-2"})
                await until(lambda: told.about("api") == ["draining", "updated"])


async def test_podmans_health_is_followed_although_its_list_does_not_tell() -> None:
    async with FakeEngine(flavour="podman", version="5.4.2") as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            engine.add("web", health="starting")
            await until(lambda: "web" in discovery.table.routes and endpoints(discovery, "web") == {"web": "waiting"})
            engine.health("web", "healthy")
            await until(lambda: endpoints(discovery, "web") == {"web": "ready"})
            await settled(discovery, config(engine))


# ---- what probes found


async def test_what_probes_find_is_told_beside_what_changes_and_keeps_its_cause() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            slow = discovery.subscribe()
            seen = (await anext(slow)).new
            address = seen.routes["web"].endpoints[0].address
            discovery.observe({"web": {address: EndpointHealth("pending")}})
            assert discovery.table.health_of("web")[address].state == "pending"
            engine.add("new")
            await until(lambda: "new" in discovery.table.routes)
            new = discovery.table.routes["new"].endpoints[0].address
            discovery.observe({"new": {new: EndpointHealth("healthy")}})
            update = await anext(slow)
            # That something is going to be probed is no news: the old table is still the one that was given last.
            assert update.old is seen
            assert [(c.kind, c.alias, c.cause) for c in update.changes] == [
                ("added", "new", "start of new"),
                ("health", "new", f"new at {new} passes the gateway's probe"),
            ]


async def test_a_table_that_differs_in_nothing_worth_telling_is_not_given_to_subscribers() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            subscription = discovery.subscribe()
            seen = (await anext(subscription)).new
            address = seen.routes["web"].endpoints[0].address
            waiting = asyncio.create_task(anext(subscription))
            discovery.observe({"web": {address: EndpointHealth("pending")}})
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not waiting.done()
            discovery.observe({"web": {address: EndpointHealth("unhealthy")}})
            update = await waiting
            assert update.old is seen
            assert [change.kind for change in update.changes] == ["health"]
