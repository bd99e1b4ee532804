from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage import DockerProviderConfig, Pool, build_table, scan_engine
from pilotage.containers.swarm import SERVICE_ID, SERVICE_NAME
from pilotage.testing import FakeEngine
from tests.support.scans import routes
from tests.support.virtual import VirtualEngine
from tests.support.waiting import pass_time, until
from tests.support.watched import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

TASK = {SERVICE_ID: "s1", SERVICE_NAME: "rep"}


def service(labels: Mapping[str, str]) -> dict[str, Any]:
    return {"ID": "s1", "Spec": {"Name": "rep", "Labels": dict(labels)}, "Endpoint": {}}


async def test_services_of_a_manager_give_their_tasks_labels_and_form_one_route(pool: Pool) -> None:
    async with FakeEngine() as engine:
        engine.services = [service({"proxy.aliases": "svc"})]
        for number in (1, 2):
            engine.add(f"rep.{number}.x", labels=TASK)
        snapshot = await scan_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
        assert engine.calls["services"] == 1
    table = build_table([snapshot])
    assert list(table.routes) == ["svc"]
    assert len(table.routes["svc"].endpoints) == 2
    assert table.problems == ()


async def test_on_an_engine_that_is_no_manager_tasks_say_that_labels_are_not_read(pool: Pool) -> None:
    async with FakeEngine() as engine:
        engine.add("rep.1.x", labels=TASK)
        snapshot = await scan_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
    assert list(routes(snapshot)) == ["rep"]
    (problem,) = build_table([snapshot]).problems
    assert problem.message.endswith("this engine is not a swarm manager")


async def test_without_tasks_services_are_not_asked_for(pool: Pool) -> None:
    async with FakeEngine() as engine:
        engine.add("web")
        await scan_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
        assert engine.calls["services"] == 0


@pytest.mark.looptime
async def test_changed_labels_of_a_service_are_noticed_when_the_engine_is_reconciled() -> None:
    engine = VirtualEngine([])
    engine.services = [service({"proxy.aliases": "svc"})]
    watch = Watch(engine)
    async with watch.running():
        assert engine.calls["services"] == 0
        engine.add("rep.1.x", labels=TASK)
        await until(lambda: watch.states() == {"svc": ["ready"]})
        engine.services = [service({"proxy.aliases": "new"})]
        await pass_time(30)
        assert watch.states() == {"new": ["ready"]}


@pytest.mark.looptime
async def test_a_refusal_to_report_services_is_not_repeated_for_every_task() -> None:
    engine = VirtualEngine([])
    watch = Watch(engine)
    async with watch.running():
        for number in range(5):
            engine.add(f"rep.{number}.x", labels=TASK)
            await until(lambda number=number: len(watch.state.containers) == number + 1)  # type: ignore[misc]
        assert engine.calls["services"] == 1
