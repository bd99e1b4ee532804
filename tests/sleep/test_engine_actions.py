"""Commands to an engine, and what its refusals say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage import DockerProviderConfig, from_docker, new_client
from pilotage.engine.pool import Pool
from pilotage.labels.container_options import IdleConfig
from pilotage.sleep.engine_actions import EngineActions, SleepError
from pilotage.testing import FakeEngine, container

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pilotage import Container


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with FakeEngine([container("web", state="exited")]) as engine:
        yield engine


@pytest.fixture
async def actions(engine: FakeEngine) -> AsyncIterator[EngineActions]:
    async with Pool() as pool:
        yield EngineActions(lambda: new_client(DockerProviderConfig(engine.url, name="local"), pool=pool))


@pytest.fixture
def web(engine: FakeEngine) -> Container:
    found = engine.find("web")
    assert found is not None
    return from_docker({"Id": found.id, "Names": ["/web"]}, DockerProviderConfig(engine.url, name="local"))


async def test_a_running_container_is_not_started_again(
    engine: FakeEngine, actions: EngineActions, web: Container
) -> None:
    await actions.start(web)
    await actions.start(web)
    assert engine.calls["start"] == 1
    assert await actions.ended(web) == ""


async def test_a_container_that_cannot_be_started_is_reported(
    engine: FakeEngine, actions: EngineActions, web: Container
) -> None:
    engine.become("web", "dead")
    with pytest.raises(SleepError, match="web is dead; remove it and create it again"):
        await actions.start(web)


async def test_a_removed_container_is_reported(engine: FakeEngine, actions: EngineActions, web: Container) -> None:
    engine.remove("web")
    with pytest.raises(SleepError, match="web no longer exists"):
        await actions.start(web)
    assert await actions.ended(web) == "web no longer exists"


@pytest.mark.parametrize("status", [401, 403, 405])
async def test_a_socket_proxy_that_forbids_it_is_named_with_the_endpoints(
    engine: FakeEngine, actions: EngineActions, web: Container, status: int
) -> None:
    engine.spoil("start", status=status)
    with pytest.raises(SleepError, match=r"must allow POST /containers/\*/start, stop, kill, pause and unpause"):
        await actions.start(web)


@pytest.mark.parametrize(
    ("method", "signal", "commands"),
    [
        ("stop", "", ["stop?t=7"]),
        ("stop", "SIGHUP", ["kill?signal=SIGHUP"]),
        ("kill", "HUP", ["kill?signal=HUP"]),
        ("stop", "SIGKILL", ["kill"]),
        ("kill", "", ["kill"]),
        ("pause", "", ["pause"]),
    ],
)
async def test_a_container_is_stopped_as_its_labels_say(
    engine: FakeEngine, actions: EngineActions, web: Container, method: str, signal: str, commands: list[str]
) -> None:
    await actions.start(web)
    before = len(engine.requests)
    await actions.stop(web, IdleConfig(idle_timeout=1.0, stop_method=method, stop_signal=signal, stop_timeout=7.0))
    sent = [target.rpartition("/")[2] for verb, target in engine.requests[before:] if verb == "POST"]
    assert sent == commands


async def test_an_engine_that_is_away_is_reported(engine: FakeEngine, actions: EngineActions, web: Container) -> None:
    engine.refuse()
    with pytest.raises(SleepError, match="local"):
        await actions.start(web)


async def test_conditions_are_those_of_compose(engine: FakeEngine, actions: EngineActions, web: Container) -> None:
    await actions.start(web)
    await actions.wait_for(web, "service_started")
    with pytest.raises(SleepError, match="web has no health check, so it never becomes healthy"):
        await actions.wait_for(web, "service_healthy")
    engine.health("web", "healthy")
    await actions.wait_for(web, "service_healthy")
    engine.health("web", "unhealthy")
    with pytest.raises(SleepError, match="web is unhealthy"):
        await actions.wait_for(web, "service_healthy")
    engine.die("web", exit_code=0)
    await actions.wait_for(web, "service_completed_successfully")
    with pytest.raises(SleepError, match="web exited with code 0"):
        await actions.wait_for(web, "service_started")
