"""Which containers sleep together with a unit."""

from __future__ import annotations

import pytest

from pilotage.testing import FakeContainer, FakeEngine, container
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


@pytest.mark.parametrize(("method", "state_then"), [("stop", "exited"), ("pause", "paused"), ("kill", "exited")])
async def test_the_label_says_how_a_container_is_put_to_sleep(method: str, state_then: str) -> None:
    labels = {"proxy.aliases": "web", "proxy.idle_timeout": "1h", "proxy.stop_method": method}
    async with FakeEngine([service("web", **labels, **{"proxy.stop_signal": "SIGTERM"})]) as engine:
        async with sleeping(engine) as night:
            await put_to_sleep(night)
            assert engine.calls[method] == 1
            assert state(engine, "web") == state_then
            if method != "pause":
                assert any("signal=SIGTERM" in target for _, target in engine.requests)
