from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from pilotage.core.errors import EngineUnreachable
from pilotage.discovery.timing import Timing
from pilotage.discovery.watcher import EngineWatcher
from pilotage.engine.config import DockerProviderConfig
from pilotage.testing import FakeEngine, container
from tests.support.leaks import assert_no_leaks
from tests.support.virtual import VirtualEngine
from tests.support.waiting import pass_time, until
from tests.support.watched import Watch, now

REMOTE = "tcp://virtual.invalid:2375"  # it has no socket file


# ---- silence


@pytest.mark.looptime
async def test_a_silent_engine_is_pinged_and_stays_live() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine, Timing(reconcile=100_000))
    async with watch.running():
        await pass_time(3600)
        assert engine.calls["ping"] == pytest.approx(3600 / 15, abs=2)
        assert watch.told.words == ["live"]


@pytest.mark.looptime
async def test_an_engine_that_sends_events_is_not_pinged() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        for _ in range(30):
            await pass_time(10)
            engine.rename("web", "web")
        assert engine.calls["ping"] == 0


@pytest.mark.looptime
async def test_a_dead_connection_is_noticed_within_half_a_minute() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        await pass_time(7)
        engine.silent = True
        died = now()
        await until(lambda: "away" in watch.told.words)
        assert watch.told.when("away") - died <= 30
        assert watch.told.errors[0].what == "no event for 15 s, and no response to a ping within 10 s"
        assert watch.states() == {"web": ["ready"]}  # the last good routes stay


@pytest.mark.looptime
async def test_a_dead_connection_is_noticed_during_a_request_too() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        engine.latency = 0.5
        engine.pause("web")
        await pass_time(0.1)
        engine.silent = True
        engine.latency = 3600
        died = now()
        await until(lambda: "away" in watch.told.words)
        assert watch.told.when("away") - died <= 30


@pytest.mark.looptime
async def test_a_proxy_that_refuses_pings_is_alive() -> None:
    engine = VirtualEngine([container("web")])
    engine.spoil("ping", status=403)
    watch = Watch(engine)
    async with watch.running():
        await pass_time(600)
        assert engine.calls["ping"] > 30
        assert watch.told.words == ["live"]


# ---- back-off and reconnects


@pytest.mark.looptime
async def test_back_off_doubles_up_to_half_a_minute_with_jitter() -> None:
    engine = VirtualEngine()
    engine.down = "connection refused"
    watch = Watch(engine, url=REMOTE)
    async with watch.running(wait=False):
        await pass_time(3600)
        gaps = [b - a for a, b in zip(engine.attempts, engine.attempts[1:], strict=False)]
        for gap, wanted in zip(gaps, [0.5, 1, 2, 4, 8, 16, 30, 30, 30], strict=False):
            assert 0.75 * wanted <= gap <= 1.25 * wanted + 0.01
        assert max(gaps) <= 37.6
        assert len({round(gap, 3) for gap in gaps[6:]}) > 10  # jitter
        assert set(watch.told.words) == {"away"}


@pytest.mark.looptime
async def test_a_long_failed_attempt_is_repeated_at_once() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        engine.silent = True
        await pass_time(100)  # attempts of 30 seconds each
        gaps = [b - a for a, b in zip(engine.attempts[1:], engine.attempts[2:], strict=False)]
        assert gaps
        assert max(gaps) < 30.01


@pytest.mark.looptime
async def test_an_engine_that_closes_after_each_list_is_asked_ever_more_rarely() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine, url=REMOTE)
    async with watch.running():
        for _ in range(3600):
            engine.break_streams()
            await pass_time(1)
        assert 100 < watch.watcher.sessions < 180  # two minutes until the pause is 30 seconds long, and 58 minutes more
        assert engine.calls["list"] == watch.watcher.lists <= watch.watcher.sessions


@pytest.mark.looptime
async def test_failed_attempts_between_short_sessions_do_not_reset_the_back_off() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine, url=REMOTE)
    async with watch.running():
        for second in range(3600):
            engine.down = "connection refused" if second % 3 else ""
            engine.break_streams()
            await pass_time(1)
        assert watch.watcher.sessions < 180


@pytest.mark.looptime
async def test_the_first_session_after_an_outage_is_followed_by_a_short_pause() -> None:
    engine = VirtualEngine([container("web")])
    engine.down = "connection refused"
    watch = Watch(engine, url=REMOTE)
    async with watch.running(wait=False):
        await pass_time(600)
        engine.down = ""
        await until(lambda: "live" in watch.told.words)
        engine.become("web", "exited")
        engine.break_streams()
        broken = now()
        await until(watch.is_true)
        assert now() - broken < 1
        assert watch.told.words[-2:] == ["away", "live"]


@pytest.mark.looptime
async def test_a_session_that_lasted_resets_the_back_off() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine, url=REMOTE)
    async with watch.running():
        for _ in range(300):
            engine.break_streams()
            await pass_time(1)
        await pass_time(100)
        for _ in range(3):
            engine.break_streams()
            broken = now()
            await until(lambda at=broken: watch.told.when("live") > at)  # type: ignore[misc]
            assert now() - broken < 1
            await pass_time(61)


@pytest.mark.looptime
async def test_a_reconnect_lists_everything_and_publishes_only_changes() -> None:
    engine = VirtualEngine([container(f"app{n}") for n in range(10)])
    watch = Watch(engine)
    async with watch.running():
        watch.told.changes.clear()
        engine.break_streams()
        engine.remove("app3")
        added = engine.add("new")
        await until(watch.is_true)
        changed = [set(changes) for _, changes, _ in watch.told.changes]
        assert len(set.union(*changed)) == 2
        assert added.id in set.union(*changed)


@pytest.mark.looptime
async def test_a_list_that_fails_with_500_is_retried() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        engine.spoil("list:id", status=500, times=3)
        engine.pause("web")
        await until(watch.is_true)
        assert watch.told.words == ["live"]
        assert watch.watcher.refreshes == 4


@pytest.mark.parametrize(("status", "tries"), [(500, 4), (403, 1)])
@pytest.mark.looptime
async def test_a_refused_list_ends_the_session_with_the_engines_message(status: int, tries: int) -> None:
    engine = VirtualEngine([container("web")])
    engine.spoil("list", status=status, message="no lists here")
    watch = Watch(engine)
    async with watch.running(wait=False):
        await until(lambda: watch.told.errors)
        assert watch.told.errors[0].what == "no lists here"
        assert engine.order[: tries + 2].count("list") == tries  # the next attempt opens a new stream first
        engine.heal()
        await until(watch.is_true)


@pytest.mark.looptime
async def test_an_internal_error_is_reported_and_does_not_spin(caplog: pytest.LogCaptureFixture) -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine, url=REMOTE)

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    watch.state.update = broken  # type: ignore[method-assign, assignment]
    async with watch.running(wait=False):
        await pass_time(600)
        assert watch.told.errors[0].what == "internal error: ZeroDivisionError()"
        assert watch.watcher.sessions < 30
    assert "engine local: internal error: ZeroDivisionError()" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.looptime
async def test_an_address_that_became_invalid_is_reported_like_any_failure() -> None:
    watch = Watch(VirtualEngine())
    watch.watcher.config = DockerProviderConfig("gopher://nowhere", name="local")
    async with watch.running(wait=False):
        await until(lambda: watch.told.errors)
        assert "gopher" in str(watch.told.errors[0])


# ---- floods, and long lists


def happened(number: int, *, action: str = "start", labels: str = "") -> bytes:
    actor = {"ID": f"{number:064x}", "Attributes": {"name": f"job{number}", "note": labels}}
    return json.dumps({"Type": "container", "Action": action, "Actor": actor}).encode() + b"\n"


@pytest.mark.looptime
@pytest.mark.parametrize("action", ["start", "destroy"])
async def test_events_of_ever_new_containers_cost_one_list_a_second(action: str) -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        engine.latency = 0.02
        lists, refreshes = watch.watcher.lists, watch.watcher.refreshes
        begun = now()
        for second in range(20):
            for stream in engine.open:
                for number in range(5000):
                    stream.send(happened(second * 5000 + number, action=action, labels="x" * 100))
            await until(lambda: watch.watcher.events == engine.sent)
            assert len(watch.watcher._pending) <= 2000
            assert len(watch.watcher._received_at) <= 2000
            assert len(watch.watcher._removed_in_flight) <= 2000
            assert all(event.labels is None for event in watch.watcher._pending.values())
            await pass_time(0.5)
        assert watch.watcher.lists - lists <= 2 + (now() - begun)
        if action == "start":
            assert watch.told.words == ["live", "flood"]
            assert watch.watcher.refreshes - refreshes <= 20
        await pass_time(5)
        assert watch.told.words in (["live", "flood", "calm"], ["live"])
        calm = watch.watcher.lists
        engine.pause("web")
        await pass_time(1)
        assert watch.is_true()
        assert watch.watcher.lists == calm


@pytest.mark.looptime
async def test_a_flood_of_changes_ends_with_the_truth() -> None:
    containers = [container(f"app{n}") for n in range(2500)]
    engine = VirtualEngine(containers)
    watch = Watch(engine)
    async with watch.running():
        engine.latency = 0.02
        for each in containers:
            engine.stop(each)
        await pass_time(4)
        assert watch.is_true()
        assert watch.told.words == ["live", "flood", "calm"]


@pytest.mark.looptime
async def test_an_event_that_never_ends_ends_the_session() -> None:
    engine = VirtualEngine([container("web")])
    watch = Watch(engine)
    async with watch.running():
        for stream in engine.open:
            stream.send(b'{"Type": "container",')
        await until(lambda: "away" in watch.told.words)
        assert watch.told.errors[0].what == "the engine sent part of an event, and then nothing for 15 s"


# ---- cancellation


@pytest.mark.looptime
@pytest.mark.parametrize("steps", [*range(1, 40), 50, 80, 120])
async def test_cancelling_a_watcher_at_any_point_leaves_no_half_state(steps: int) -> None:
    engine = VirtualEngine(
        [container("web", health="starting"), container("app"), container("host", network_mode="host", ports=[8000])]
    )
    watch = Watch(engine)
    async with assert_no_leaks():
        task = asyncio.create_task(watch.watcher.run())
        for step in range(steps):
            if step == 12:
                engine.pause("web")
                engine.add("new", network_mode="host", ports=[8000])
            await pass_time(0.0005)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert engine.open == set()
        assert all(entry.refs == 0 for entry in watch.pool._entries.values())
        engine.become("web", "exited")
        engine.become("app", "paused")
        again = EngineWatcher(watch.watcher.config, watch.state, watch.told, pool=watch.pool)
        watch.watcher = again
        watch.told.log.clear()
        async with watch.running():
            assert Counter(watch.states()) == Counter(
                {"web": [], "app": [], "host": ["ready"]} | ({"new": ["ready"]} if steps > 12 else {})
            )


@pytest.mark.looptime
async def test_a_failure_at_the_same_time_does_not_undo_the_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail_when_cancelled(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise EngineUnreachable("local", "lost") from None

    watch = Watch(VirtualEngine([container("web")]))
    monkeypatch.setattr(watch.watcher, "_work", fail_when_cancelled)
    task = asyncio.create_task(watch.watcher.run())
    await pass_time(1)
    task.cancel()
    await asyncio.wait([task], timeout=3600)
    assert task.cancelled()
    await watch.pool.close()


# ---- a new socket file, in real time


async def test_a_new_socket_file_ends_the_back_off() -> None:
    never = Timing(first_pause=1000, longest_pause=1000, pause_after_session=1000)
    async with assert_no_leaks(), FakeEngine([container("web")]) as engine:
        watch = Watch(engine, never)
        async with watch.running():
            for missing in (False, True):
                watch.told.log.clear()
                engine.refuse(missing=missing)
                engine.crash()
                await until(lambda: "away" in watch.told.words)
                engine.add(f"new {missing}", labels={"proxy.aliases": f"new-{missing}"})
                await engine.recover()
                await until(lambda: "live" in watch.told.words)
                assert f"new-{missing}".lower() in watch.states()
