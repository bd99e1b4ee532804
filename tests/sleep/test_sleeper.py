"""Units sleep and wake behind a fake engine and a fake gateway; tests of sleep and wake use real ones."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

import pytest

from pilotage.sleep.engine_actions import SleepError
from pilotage.testing import FakeContainer, FakeEngine, container
from pilotage.xds.load_reports import Load, Report
from tests.support.sleepers import sleeping, state_of
from tests.support.waiting import until

if TYPE_CHECKING:
    from pilotage.testing.container import State

IDLE = {"proxy.idle_timeout": "1h"}


def web(state: State = "exited", **labels: str) -> FakeContainer:
    return container("web", labels={**IDLE, **{f"proxy.{name}": value for name, value in labels.items()}}, state=state)


async def test_a_stopped_container_is_asleep_and_is_started_once_however_many_ask() -> None:
    async with FakeEngine([web()]) as engine, sleeping(engine) as night:
        await night.until_state("asleep")
        assert night.keeper.history[-1] == ("web", "closed")
        for _ in range(100):
            night.sleeper.want("web")
        await night.until_state("ready")
        assert night.keeper.history[-1] == ("web", "open")
        assert engine.calls["start"] == 1
        assert night.status().last_wake is not None


async def test_requests_pass_only_once_the_server_answers() -> None:
    async with FakeEngine([web()]) as engine, sleeping(engine) as night:
        await night.until_state("asleep")
        night.answers = False
        night.sleeper.want("web")
        await until(lambda: night.status().step == "waiting for web to answer")
        assert night.keeper.gates["web"].opening == "closed"
        night.answers = True
        await night.until_state("ready")
        assert [opening for _, opening in night.keeper.history] == ["closed", "open"]


async def test_an_engine_that_refuses_is_reported_with_its_words_and_requests_are_rejected() -> None:
    async with FakeEngine([web()]) as engine, sleeping(engine) as night:
        await night.until_state("asleep")
        engine.spoil("start", status=500, message="no space left on device")
        night.sleeper.want("web")
        await night.until_state("failed")
        (problem,) = night.sleeper.problems()
        assert "no space left on device" in problem.message
        assert problem.container == "web"
        assert night.keeper.gates["web"].opening == "failed"
        engine.heal()
        await night.until_state("asleep")
        night.sleeper.want("web")
        await night.until_state("ready")
        assert night.sleeper.problems() == []


async def test_an_engine_that_allows_only_reading_is_one_problem_however_many_containers_sleep() -> None:
    names = ("one", "two", "three")
    containers = [container(name, labels=IDLE, state="exited") for name in names]
    async with FakeEngine(containers) as engine, sleeping(engine) as night:
        await night.until_state("asleep", "three")
        engine.spoil("start", status=403, message="forbidden by the socket proxy")
        for name in names:
            night.sleeper.want(name)
        for name in names:
            await night.until_state("failed", name)
        (problem,) = night.sleeper.problems()
        assert (problem.provider, problem.container) == ("local", "")
        assert "the engine refuses to start and stop them" in problem.message
        assert "POST /containers/*/start, stop, kill, pause and unpause" in problem.hint
        assert "forbidden" in night.status("one").failure


async def test_an_operator_puts_a_container_to_sleep_once_no_envoy_leads_requests_to_it() -> None:
    async with FakeEngine([web("running")]) as engine, sleeping(engine) as night:
        await night.until_state("ready")
        night.keeper.accepts.clear()
        night.sleeper.sleep("web")
        await night.until_state("quiescing")
        gate = night.keeper.gates["web"]
        assert (gate.opening, gate.busy) == ("closed", (gate.epoch - 1,))
        assert state_of(engine, "web") == "running"
        night.keeper.accepts.set()
        await night.until_state("asleep")
        assert state_of(engine, "web") == "exited"
        assert night.keeper.gates["web"].busy == ()


async def test_a_request_in_progress_delays_the_stop() -> None:
    async with FakeEngine([web("running")]) as engine, sleeping(engine) as night:
        await night.until_state("ready")
        name = f"sleep/{night.keeper.gates['web'].epoch}/web"
        now = time.monotonic()
        report = Report("envoy", now, now, 1.0, {name: {"10.0.0.1:80": Load(in_progress=1)}})
        night.reports.append(report)
        night.sleeper.sleep("web")
        await night.until_state("quiescing")
        for _ in range(3):
            report.begun, report.at = time.monotonic(), time.monotonic()
            night.sleeper.reported(report)
            await asyncio.sleep(0.01)
        assert night.status().state == "quiescing"
        report.begun, report.loads = time.monotonic(), {}
        night.sleeper.reported(report)
        await night.until_state("asleep")


async def test_a_request_cancels_the_sleep_before_the_engine_stops_the_container() -> None:
    async with FakeEngine([web("running")]) as engine, sleeping(engine) as night:
        await night.until_state("ready")
        night.keeper.accepts.clear()
        night.sleeper.sleep("web")
        await night.until_state("quiescing")
        night.sleeper.want("web")
        assert night.status().state == "ready"
        assert night.keeper.gates["web"].opening == "open"
        night.keeper.accepts.set()
        await until(lambda: night.keeper.gates["web"].busy == ())
        assert state_of(engine, "web") == "running"


async def test_a_removed_container_frees_its_requests() -> None:
    async with FakeEngine([web()]) as engine, sleeping(engine) as night:
        await night.until_state("asleep")
        engine.remove("web")
        await until(lambda: night.sleeper.unit("web") is None)
        assert "web" not in night.keeper.gates


async def test_a_container_that_others_need_is_not_put_to_sleep() -> None:
    user = container("cron", labels={"proxy.exclude": "true", "proxy.depends_on": "web"})
    async with FakeEngine([web("running"), user]) as engine, sleeping(engine) as night:
        await night.until_state("ready")
        with pytest.raises(SleepError, match="web is needed by cron"):
            night.sleeper.sleep("web")
        with pytest.raises(SleepError, match=r"set proxy\.idle_timeout"):
            night.sleeper.sleep("cron")


async def test_a_route_used_for_forwardauth_does_not_sleep() -> None:
    shop = container("shop", labels={"proxy.shop.middlewares.forwardauth.route": "web"})
    async with FakeEngine([web("running"), shop]) as engine, sleeping(engine) as night:
        await until(lambda: len(night.sleeper.problems()) == 1)
        assert night.sleeper.unit("web") is None
        assert "web" not in night.keeper.gates


async def test_one_report_is_judged_once_for_each_unit() -> None:
    """A container with many aliases must not cost the square of their number."""
    many = ", ".join(f"a{number}" for number in range(300))
    async with FakeEngine([web("running", aliases=many)]) as engine, sleeping(engine) as night:
        await until(lambda: night.sleeper.unit("a299") is not None)
        unit = night.sleeper.unit("a0")
        assert unit is not None
        loads = {f"sleep/{unit.state.epoch}/{alias}": {"10.0.0.1:80": Load(1, 1)} for alias in unit.aliases}
        now = time.monotonic()
        night.reports.append(Report("envoy", now, now, 1.0, loads))
        night.sleeper.reported(night.reports[0])
        assert night.sleeper.status(unit).in_progress == 300


async def test_a_second_sleep_waits_for_requests_from_before_the_first() -> None:
    async with FakeEngine([web("running")]) as engine, sleeping(engine) as night:
        await night.until_state("ready")
        night.keeper.accepts.clear()
        night.sleeper.sleep("web")
        night.sleeper.want("web")
        with pytest.raises(SleepError, match="still has requests that began before"):
            night.sleeper.sleep("web")
        night.keeper.accepts.set()
        await until(lambda: night.keeper.gates["web"].busy == ())
        assert state_of(engine, "web") == "running"


async def test_an_envoy_without_load_reports_keeps_a_container_awake() -> None:
    async with FakeEngine([web("running")]) as engine, sleeping(engine) as night:
        await night.until_state("ready")
        night.envoys = 1
        with pytest.raises(SleepError, match="until Envoy without a name has reported"):
            night.sleeper.sleep("web")
        assert night.status().state == "ready"
        assert state_of(engine, "web") == "running"


async def test_the_table_shows_whether_containers_are_awake() -> None:
    async with FakeEngine([web()]) as engine, sleeping(engine) as night:
        await until(lambda: "web" in night.discovery.table.wakefulness)
        assert night.discovery.table.wakefulness["web"].remark == "asleep"
        night.sleeper.want("web")
        await until(lambda: night.discovery.table.wakefulness["web"].remark == "awake")


async def test_a_datagram_wakes_a_container_and_a_session_keeps_it_awake() -> None:
    labels = {**IDLE, "proxy.dns.scheme": "udp", "proxy.dns.port": "5300:53"}
    async with FakeEngine([container("dns", labels=labels, state="exited")]) as engine, sleeping(engine) as night:
        await night.until_state("asleep", "dns")
        relay = night.keeper.gates["dns"].relay
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
            socket.socket(type=socket.SOCK_DGRAM) as client,
        ):
            server.bind(("127.0.0.1", 0))
            night.datagrams.targets = lambda _alias: [server.getsockname()]
            client.sendto(b"hello", ("127.0.0.1", relay))
            await night.until_state("ready", "dns")
            assert night.keeper.gates["dns"].relay == relay
            await until(lambda: night.status("dns").in_progress == 1)
            assert night.status("dns").awake_because == "1 request in progress"
            night.datagrams.close("dns")
            assert night.status("dns").in_progress == 0
            assert server.recv(100) == b"hello"


async def test_the_containers_of_a_pool_sleep_and_wake_together() -> None:
    names = ("one", "two")
    pooled = [container(name, labels={**IDLE, f"proxy.{name}.load_balance.link": "all"}) for name in names]
    async with FakeEngine(pooled) as engine, sleeping(engine) as night:
        await night.until_state("ready", "two")
        assert set(night.keeper.gates) == {"POOL/all"}
        unit = night.sleeper.find("all")
        assert unit is not None
        report = Report("envoy", 0, 0, 1.0, {f"sleep/{unit.state.epoch}/POOL/all": {"10.0.0.1:80": Load(1, 1)}})
        report.begun = report.at = time.monotonic()
        night.reports.append(report)
        night.sleeper.reported(report)
        assert night.status("two").in_progress == 1
        night.reports.clear()
        night.sleeper.sleep("two")
        await night.until_state("asleep", "one")
        assert {state_of(engine, name) for name in names} == {"exited"}
        night.sleeper.want("POOL/all")
        await night.until_state("ready", "one")
        await until(lambda: {state_of(engine, name) for name in names} == {"running"})
        assert engine.calls["start"] == engine.calls["stop"] == 2
        engine.remove("one")
        engine.remove("two")
        await until(lambda: not night.keeper.gates)


async def test_a_container_is_found_by_alias_name_and_id() -> None:
    async with FakeEngine([web()]) as engine, sleeping(engine) as night:
        await night.until_state("asleep")
        unit = night.sleeper.unit("web")
        assert unit is not None
        assert night.sleeper.find("web") is unit
        assert night.sleeper.find(unit.container_id) is night.sleeper.find(unit.container_id[:12]) is unit
        assert night.sleeper.find(unit.container_id[:3]) is None
        assert night.sleeper.find("nobody") is None
        assert night.sleeper.names == ["web"]


async def test_an_engine_that_says_yes_and_does_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.sleep.waking._STOPPED_AFTER", 0.2)
    async with FakeEngine([web("running")]) as engine, sleeping(engine) as night:
        await night.until_state("ready")
        engine.spoil("stop", status=204, body=b"")
        night.sleeper.sleep("web")
        await until(night.sleeper.problems)
        assert "the engine reported no error, but web is still running" in night.sleeper.problems()[0].message
        assert night.status().state == "ready"
        assert engine.calls["stop"] == 1
