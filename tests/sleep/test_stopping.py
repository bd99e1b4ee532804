"""Which containers sleep together with a unit."""

from __future__ import annotations

import time

import pytest

from pilotage.testing import FakeContainer, FakeEngine, container
from pilotage.xds.load_reports import Load, Report
from tests.support.sleepers import Night, sleeping
from tests.support.waiting import until

PROJECT = {"com.docker.compose.project": "shop"}
HIDDEN = {"proxy.exclude": "true"}
WEB = {"proxy.aliases": "web", "proxy.idle_timeout": "1h", "proxy.depends_on": "db"}


def service(name: str, **labels: str) -> FakeContainer:
    return container(f"shop-{name}-1", labels={**PROJECT, "com.docker.compose.service": name, **labels})


async def put_to_sleep(night: Night) -> None:
    await night.until_state("ready")
    night.sleeper.sleep("web")
    await night.until_state("asleep")


async def busy(night: Night) -> Report:
    """Report that an Envoy has a request to db in progress, now and in the next seconds."""
    await night.until_state("ready", "db")
    name = f"sleep/{night.keeper.gates['db'].epoch}/db"
    later = time.monotonic() + 10
    report = Report("envoy", later, later, 1.0, {name: {"10.0.0.1:80": Load(in_progress=1)}})
    night.reports.append(report)
    return report


def state(engine: FakeEngine, name: str) -> str:
    found = engine.find(f"shop-{name}-1")
    assert found is not None
    return found.state


async def test_what_only_this_container_needed_sleeps_after_it() -> None:
    async with FakeEngine([service("web", **WEB), service("db", **HIDDEN)]) as engine, sleeping(engine) as night:
        await put_to_sleep(night)
        assert (state(engine, "web"), state(engine, "db")) == ("exited", "exited")
        stopped = [engine.find(target.split("/")[-2]) for _, target in engine.requests if "/stop" in target]
        assert [it.name for it in stopped if it is not None] == ["shop-web-1", "shop-db-1"]


@pytest.mark.parametrize(
    ("database", "others"),
    [
        pytest.param({}, [], id="it has a route of its own"),
        pytest.param({**HIDDEN, "proxy.idle_timeout": "2h"}, [], id="it has an idle timeout of its own"),
        pytest.param(HIDDEN, [service("cron", **HIDDEN, **{"proxy.depends_on": "db"})], id="others need it"),
    ],
)
async def test_a_needed_container_stays_awake(database: dict[str, str], others: list[FakeContainer]) -> None:
    containers = [service("web", **WEB), service("db", **database), *others]
    async with FakeEngine(containers) as engine, sleeping(engine) as night:
        await put_to_sleep(night)
        assert (state(engine, "web"), state(engine, "db")) == ("exited", "running")


async def test_a_negative_timeout_makes_a_container_with_a_route_sleep_with_what_needs_it() -> None:
    database = service("db", **{"proxy.idle_timeout": "-1s"})
    async with FakeEngine([service("web", **WEB), database]) as engine, sleeping(engine) as night:
        await put_to_sleep(night)
        await until(lambda: state(engine, "db") == "exited")


async def test_what_needs_others_stops_before_them() -> None:
    api = service("api", **HIDDEN, **{"proxy.depends_on": "db, init:service_completed_successfully"})
    web = service("web", **{**WEB, "proxy.depends_on": "api"})
    init = container("shop-init-1", labels={**PROJECT, "com.docker.compose.service": "init", **HIDDEN}, state="exited")
    async with FakeEngine([service("db", **HIDDEN), init, api, web]) as engine, sleeping(engine) as night:
        await put_to_sleep(night)
        stopped = [engine.find(target.split("/")[-2]) for _, target in engine.requests if "/stop" in target]
        assert [it.name for it in stopped if it is not None] == ["shop-web-1", "shop-api-1", "shop-db-1"]


async def test_a_needed_container_finishes_the_requests_of_its_own_route_first() -> None:
    database = service("db", **{"proxy.aliases": "db", "proxy.idle_timeout": "-1s"})
    async with FakeEngine([service("web", **WEB), database]) as engine, sleeping(engine) as night:
        report = await busy(night)
        night.sleeper.sleep("web")
        await night.until_state("quiescing", "db")
        assert night.keeper.gates["db"].opening == "closed"
        assert (state(engine, "web"), state(engine, "db")) == ("exited", "running")
        report.loads = {}
        night.sleeper.reported(report)
        await until(lambda: state(engine, "db") == "exited")
        await night.until_state("asleep")


async def test_a_request_to_what_sleeps_keeps_what_it_needs_awake() -> None:
    database = service("db", **{"proxy.aliases": "db", "proxy.idle_timeout": "-1s"})
    async with FakeEngine([service("web", **WEB), database]) as engine, sleeping(engine) as night:
        await busy(night)
        night.sleeper.sleep("web")
        await night.until_state("quiescing", "db")
        assert state(engine, "web") == "exited"
        night.sleeper.want("web")
        await night.until_state("ready", "db")
        await night.until_state("ready")
        assert (state(engine, "web"), state(engine, "db")) == ("running", "running")
        assert engine.calls["stop"] == 1


async def test_a_negative_timeout_needs_a_route_that_can_wait() -> None:
    shop = container("shop", labels={"proxy.shop.middlewares.forwardauth.route": "db"})
    database = service("db", **{"proxy.aliases": "db", "proxy.idle_timeout": "-1s"})
    async with FakeEngine([service("web", **WEB), database, shop]) as engine, sleeping(engine) as night:
        await until(lambda: len(night.sleeper.problems()) == 1)
        await put_to_sleep(night)
        assert (state(engine, "web"), state(engine, "db")) == ("exited", "running")


@pytest.mark.parametrize(("method", "state_then"), [("stop", "exited"), ("pause", "paused"), ("kill", "exited")])
async def test_the_label_says_how_a_container_is_put_to_sleep(method: str, state_then: str) -> None:
    labels = {"proxy.aliases": "web", "proxy.idle_timeout": "1h", "proxy.stop_method": method}
    async with FakeEngine([service("web", **labels, **{"proxy.stop_signal": "SIGTERM"})]) as engine:
        async with sleeping(engine) as night:
            await put_to_sleep(night)
            assert engine.calls["kill" if method == "stop" else method] == 1  # a signal of one's own is sent by kill
            assert state(engine, "web") == state_then
            if method != "pause":
                assert any("signal=SIGTERM" in target for _, target in engine.requests)
