"""The watcher of a healthy engine, in virtual time: hours pass at once and times are exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.testing import container
from tests.support.virtual import VirtualEngine
from tests.support.waiting import pass_time, until
from tests.support.watched import Watch, now

if TYPE_CHECKING:
    from pilotage.testing.dialect import Flavour


REMOTE = "tcp://virtual.invalid:2375"  # it has no socket file


# ---- a healthy engine


@pytest.mark.looptime
async def test_the_event_stream_is_open_before_everything_is_listed() -> None:
    watch = Watch(VirtualEngine([container("web"), container("db", state="exited")]))
    async with watch.running():
        assert watch.engine.order == ["stream", "list"]  # type: ignore[attr-defined]
        assert watch.is_true()
        assert watch.states() == {"web": ["ready"], "db": []}


@pytest.mark.looptime
async def test_a_single_change_costs_one_filtered_list_and_has_no_delay() -> None:
    watch = Watch(VirtualEngine([container(f"app{n}") for n in range(20)]))
    async with watch.running():
        before = now()
        watch.engine.pause("app7")
        await until(lambda: watch.states()["app7"] == [])
        assert now() - before < 0.05  # no debounce timer: only the engine's 1 ms and the polling of this test
        assert watch.engine.calls["list:id"] == 1
        assert watch.engine.calls["list"] == 1
        assert watch.engine.calls["inspect"] == 0
        (_, changes, causes) = watch.told.changes[-1]
        assert set(changes) == set(causes)
        assert set(causes.values()) == {"pause of app7"}


@pytest.mark.looptime
async def test_ids_that_accumulate_during_a_request_are_fetched_together() -> None:
    engine = VirtualEngine([container(f"app{n}") for n in range(20)])
    watch = Watch(engine)
    async with watch.running():
        engine.latency = 1.0
        engine.pause("app0")
        await pass_time(0.5)
        for n in range(1, 20):
            engine.pause(f"app{n}")
        await until(watch.is_true)
        assert watch.watcher.refreshes == 2


@pytest.mark.looptime
async def test_a_flood_is_split_into_requests_of_limited_size() -> None:
    engine = VirtualEngine([container(f"app{n}") for n in range(250)])
    watch = Watch(engine)
    async with watch.running():
        engine.latency = 0.1
        for n in range(250):
            engine.pause(f"app{n}")
        await until(watch.is_true)
        assert engine.calls["list:id"] == watch.watcher.refreshes == 3
        assert engine.calls["list"] == 1


@pytest.mark.looptime
async def test_irrelevant_events_cost_no_request() -> None:
    engine = VirtualEngine([container("hidden", labels={"proxy.exclude": "1"}, health="healthy"), container("web")])
    watch = Watch(engine)
    async with watch.running():
        for _ in range(100):
            engine.exec("web")
            engine.health("hidden", "healthy")
            engine.emit("image", "pull", "busybox")
        await watch.idle()
        assert watch.watcher.events == 100  # those of health; the filters of the stream exclude the others
        assert (watch.watcher.refreshes, watch.watcher.lists) == (0, 1)


@pytest.mark.looptime
async def test_other_containers_of_an_explicit_only_engine_cost_no_request() -> None:
    engine = VirtualEngine([container("plain")])
    watch = Watch(engine, name="local!")
    async with watch.running():
        for n in range(20):
            engine.add(f"new{n}", networks=())
            engine.remove(f"new{n}")
            engine.restart("plain")
        await watch.idle()
        assert watch.watcher.events > 100
        assert watch.watcher.refreshes == 0
        engine.add("ours", labels={"proxy.ours.port": "80"})
        await until(lambda: "ours" in watch.states())


@pytest.mark.looptime
async def test_an_explicit_only_engine_finds_the_owner_of_a_used_network() -> None:
    engine = VirtualEngine()
    watch = Watch(engine, name="local!")
    async with watch.running():
        vpn = engine.add("vpn", networks={"bridge": "10.1.2.3"})
        engine.add("ours", labels={"proxy.ours.port": "80"}, network_mode=f"container:{vpn.id}")
        await until(lambda: "ours" in watch.states())
        await until(watch.is_true)
        engine.stop(vpn)
        await until(watch.is_true)
        assert watch.states() == {"ours": []}


@pytest.mark.looptime
async def test_reconciliation_lists_everything_and_requests_nothing_else() -> None:
    engine = VirtualEngine([container(f"app{n}") for n in range(10)])
    watch = Watch(engine)
    async with watch.running():
        end = now() + 3600
        engine.become("app3", "exited")  # without an event
        await pass_time(30)
        assert watch.is_true()
        await pass_time(end - now())
        assert 119 <= watch.watcher.lists - 1 <= 134  # one hour at 27 to 30 seconds each
        assert (watch.watcher.refreshes, engine.calls["inspect"]) == (0, 0)
        assert watch.told.words == ["live"]


@pytest.mark.looptime
async def test_a_container_removed_during_a_request_does_not_return() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        engine.latency = 1.0
        short = engine.add("short")
        await pass_time(0.5)  # a response that still lists it is under way
        engine.remove(short)
        await watch.idle()
        assert set(watch.states()) == {"web"}
        assert watch.is_true()


@pytest.mark.looptime
async def test_a_change_during_a_request_is_not_missed() -> None:
    engine = VirtualEngine([container("web", state="exited", health="starting")])
    watch = Watch(engine)
    async with watch.running():
        engine.latency = 1.0
        engine.start("web")
        await pass_time(0.5)  # the response says: starting
        engine.health("web", "healthy")
        await until(lambda: watch.states()["web"] == ["ready"], patience=10)


@pytest.mark.looptime
async def test_a_change_during_the_first_list_is_not_missed() -> None:
    engine = VirtualEngine([container("web", health="starting"), container("app")])
    engine.latency = 1.0
    watch = Watch(engine)
    async with watch.running(wait=False):
        await until(lambda: engine.calls["list"] == 1)
        engine.health("web", "healthy")
        engine.remove("app")
        engine.add("new")
        await until(lambda: "live" in watch.told.words)
        await until(watch.is_true, patience=10)


@pytest.mark.looptime
async def test_a_renamed_or_replaced_network_owner_is_followed() -> None:
    vpn = container("vpn", ip="10.1.2.3")
    engine = VirtualEngine([vpn, container("user", labels={"proxy.user.port": "9"}, network_mode="container:vpn")])
    watch = Watch(engine)
    async with watch.running():
        engine.rename(vpn, "old")
        engine.add("vpn", networks={"bridge": "10.1.2.9"})
        engine.restart("user")
        await until(watch.is_true)
        (route,) = next(built for built in watch.state.built.values() if built.routes[0].alias == "user").routes
        assert route.host == "10.1.2.9"


@pytest.mark.looptime
@pytest.mark.parametrize("flavour", ["docker", "podman"])
async def test_a_user_of_a_network_is_taken_out_when_the_owner_restarts_until_it_restarts_too(flavour: Flavour) -> None:
    base = container("base1", ip="10.1.2.3")
    engine = VirtualEngine([base], flavour=flavour)
    watch = Watch(engine)
    async with watch.running():  # the owner is known before it has a user
        engine.add("side1", labels={"proxy.side1.port": "81"}, network_mode=f"container:{base.id}")
        await until(lambda: watch.states().get("side1") == ["ready"])
        await until(watch.is_true)
        engine.restart(base)
        await until(lambda: watch.states()["side1"] == [])
        await until(lambda: watch.states()["base1"] == ["ready"])
        await until(watch.is_true)
        (problem,) = next(built for built in watch.state.built.values() if built.routes[0].alias == "side1").problems
        assert problem.hint.startswith("restart side1")
        engine.restart("side1")
        await until(lambda: watch.states()["side1"] == ["ready"])
        await until(watch.is_true)


# ---- events that arrive before the list reflects them


@pytest.mark.looptime
async def test_a_list_that_lags_behind_an_event_is_requested_again() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        for action, then, states in (("die", "exited", []), ("unpause", "running", ["ready"]), ("pause", "paused", [])):
            if action == "unpause":
                engine.become("web", "paused")
            engine._emit(engine._the("web"), action)
            engine.health("web", "healthy")  # an event that keeps the prediction
            await pass_time(0.1)
            engine.become("web", then)  # type: ignore[arg-type]
            caught_up = now()
            await until(lambda states=states: watch.states()["web"] == states)  # type: ignore[misc]
            assert now() - caught_up < 0.2
            await watch.idle()
            refreshes = watch.watcher.refreshes
            await pass_time(10)
            assert watch.watcher.refreshes == refreshes  # it stops once the list has caught up


@pytest.mark.looptime
async def test_networks_that_appear_after_their_event_are_not_missed() -> None:
    engine = VirtualEngine([container("web", networks={"zz": "10.1.0.2"})])
    watch = Watch(engine)
    web = engine.find("web")
    assert web is not None
    async with watch.running():
        engine._emit_network(web, "connect", "aa")
        await pass_time(0.05)
        web.networks["aa"] = "10.2.0.2"
        engine._changed(web)
        await until(watch.is_true, patience=2)
        engine._emit_network(web, "disconnect", "aa")
        await pass_time(0.05)
        del web.networks["aa"]
        engine._changed(web)
        await until(watch.is_true, patience=2)


@pytest.mark.looptime
async def test_an_event_that_is_never_reflected_is_given_up() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        engine._emit(engine._the("web"), "die")  # it keeps running
        await watch.idle()
        assert watch.watcher.refreshes == 9
        await pass_time(60)
        assert watch.watcher.refreshes == 9
        assert watch.states() == {"web": ["ready"]}


@pytest.mark.looptime
async def test_a_start_replaces_an_earlier_expectation() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        engine._emit(engine._the("web"), "die")
        await pass_time(0.015)
        engine._emit(engine._the("web"), "start")
        await watch.idle()
        assert watch.watcher.events == 2
        assert watch.watcher.refreshes <= 4


@pytest.mark.looptime
async def test_lag_is_measured_until_the_list_reflects_the_event() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    lags: list[float] = []
    watch.watcher._on_lag = lags.append
    async with watch.running():
        engine.latency = 0.1
        engine.rename("web", "shop")
        await until(lambda: len(lags) == 1)
        assert lags[0] == pytest.approx(0.1, abs=0.01)
        engine._emit(engine._the("shop"), "die")
        await pass_time(0.3)
        engine.become("shop", "exited")
        await until(lambda: len(lags) == 2)
        assert 0.3 < lags[1] < 0.7


@pytest.mark.looptime
async def test_nothing_is_kept_of_containers_removed_before_their_refresh() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        engine.latency = 1.0
        for _ in range(20):
            engine.remove(engine.add("short", networks=()))
            await pass_time(0.01)
        await watch.idle()
        books = {name: len(value) for name, value in vars(watch.watcher).items() if isinstance(value, dict | set)}
        assert len(books) == 4
        assert not any(books.values()), books


# ---- draining


@pytest.mark.looptime
async def test_a_stop_signal_drains_at_once_until_the_grace_period_ends() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        started = now()
        engine._emit(engine._the("web"), "kill", signal="15")  # the container ignores it
        await until(lambda: watch.states()["web"] == ["draining"])
        assert watch.watcher.refreshes == 0
        await until(lambda: watch.states()["web"] == ["ready"])
        assert 30 <= now() - started < 30.1
        assert set(watch.told.changes[-1][2].values()) == {"it kept running after its stop signal"}


@pytest.mark.looptime
async def test_a_signal_to_reload_does_not_drain() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        engine._emit(engine._the("web"), "kill", signal="1")
        await watch.idle()
        assert watch.watcher.events == 1
        assert watch.states() == {"web": ["ready"]}
        assert watch.watcher.refreshes == 0


@pytest.mark.looptime
async def test_a_restart_goes_from_draining_through_stopped_to_ready() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        engine._emit(engine._the("web"), "kill", signal="15")
        await until(lambda: watch.states()["web"] == ["draining"])
        engine.die("web")
        await until(lambda: watch.states()["web"] == [])
        engine.start("web")
        await until(lambda: watch.states()["web"] == ["ready"])


# ---- reconciliation


@pytest.mark.looptime
@pytest.mark.parametrize("flavour", ["docker", "podman"])
async def test_engines_are_reconciled(flavour: Flavour) -> None:
    engine = VirtualEngine([container("web")], flavour=flavour)
    async with Watch(engine).running():
        await pass_time(3600)
        assert 119 <= engine.calls["list"] - 1 <= 134


@pytest.mark.looptime
@pytest.mark.parametrize(("flavour", "version"), [("docker", ""), ("podman", "4.3.1"), ("podman", "5.4.2")])
async def test_a_container_that_ends_is_noticed_without_reconciling(flavour: Flavour, version: str) -> None:
    engine = VirtualEngine([container("web")], flavour=flavour, version=version)
    watch = Watch(engine)
    async with watch.running():
        engine.die("web")
        await until(lambda: watch.states()["web"] == [])
        assert engine.calls["list"] == 1
