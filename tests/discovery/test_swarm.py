from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage import DockerProviderConfig, Pool, build_table, scan_engine
from pilotage.containers.swarm import SERVICE_ID, SERVICE_NAME, TASK_ID
from pilotage.testing import FakeEngine
from tests.support.scans import routes
from tests.support.virtual import VirtualEngine
from tests.support.waiting import pass_time, until
from tests.support.watched import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

TASK = {SERVICE_ID: "s1", SERVICE_NAME: "rep", TASK_ID: "zr68kcczwws2meupmefrlrogf"}


def task(number: int) -> dict[str, str]:
    return TASK | {TASK_ID: f"zr68kcczwws2meupmefrlro{number:02}"}


def service(labels: Mapping[str, str]) -> dict[str, Any]:
    return {"ID": "s1", "Spec": {"Name": "rep", "Labels": dict(labels)}, "Endpoint": {}}


async def test_services_of_a_manager_give_their_tasks_labels_and_form_one_route(pool: Pool) -> None:
    async with FakeEngine() as engine:
        engine.services = [service({"proxy.aliases": "svc"})]
        for number in (1, 2):
            engine.add(f"rep.{number}.x", labels=task(number))
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
            engine.add(f"rep.{number}.x", labels=task(number))
            await until(lambda number=number: len(watch.state.containers) == number + 1)  # type: ignore[misc]
        assert engine.calls["services"] == 1


FORGED = {"proxy.aliases": "svc", "proxy.svc.middlewares.request.set_headers.X-Key": "canary"}


async def test_a_container_that_is_no_task_is_not_handed_the_labels_of_a_service(pool: Pool) -> None:
    async with FakeEngine() as engine:
        engine.services = [service(FORGED)]
        engine.tasks = []
        engine.add("thief", labels=TASK)
        snapshot = await scan_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
    assert "canary" not in repr(snapshot)
    table = build_table([snapshot])
    assert list(table.routes) == ["thief"]
    assert "is not a task of the swarm service 'rep'" in str(table.problems)


async def test_a_container_that_names_the_task_of_another_is_not_handed_its_labels(pool: Pool) -> None:
    async with FakeEngine() as engine:
        engine.services = [service(FORGED)]
        true = engine.add("rep.1.x", labels=TASK)
        engine.tasks = engine.list_tasks()
        engine.add("thief", labels=TASK)
        snapshot = await scan_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
    table = build_table([snapshot])
    assert [route.container_id for route in table.routes.values() if route.alias == "svc"] == [true.id]
    assert [endpoint.container for endpoint in table.routes["svc"].endpoints] == ["rep.1.x"]
    assert "thief" in table.routes


async def test_where_tasks_may_not_be_asked_for_no_labels_are_handed_out(pool: Pool) -> None:
    async with FakeEngine() as engine:
        engine.services = [service(FORGED)]
        engine.add("rep.1.x", labels=TASK)
        engine.spoil("tasks", status=403)
        snapshot = await scan_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
    assert "canary" not in repr(snapshot)
    (problem,) = build_table([snapshot]).problems
    assert "the labels of its swarm service rep cannot be read: GET /tasks returned 403" in problem.message
    assert "allow GET /services and GET /tasks" in problem.hint


@pytest.mark.looptime
async def test_a_task_that_the_engine_reports_late_is_recognized_within_seconds() -> None:
    engine = VirtualEngine([])
    engine.services = [service({"proxy.aliases": "svc"})]
    engine.tasks = []
    watch = Watch(engine)
    async with watch.running():
        engine.add("rep.1.x", labels=TASK)
        await pass_time(0.05)
        assert watch.states() == {"rep.1.x": ["ready"]}
        engine.tasks = None
        await pass_time(1)
        assert watch.states() == {"svc": ["ready"]}


@pytest.mark.looptime
async def test_the_cost_of_a_task_does_not_depend_on_the_number_of_tasks() -> None:
    engine = VirtualEngine([])
    engine.services = [service({"proxy.aliases": "svc"})]
    watch = Watch(engine)
    async with watch.running():
        costs = []
        for number in range(20):
            before = sum(engine.calls.values())
            engine.add(f"rep.{number}.x", labels=task(number))
            await pass_time(0.02)
            costs.append(sum(engine.calls.values()) - before)
        assert watch.states() == {"svc": ["ready"]}
        assert len(watch.state.containers) == 20
        assert set(costs[1:]) == {costs[1]}
        before = engine.calls["tasks"]
        await pass_time(60)
        assert engine.calls["tasks"] == before  # known tasks are not asked for again


@pytest.mark.looptime
async def test_a_forged_task_costs_a_few_requests_and_no_more_lists_than_others() -> None:
    engine = VirtualEngine([])
    engine.services, engine.tasks = [service(FORGED)], []
    watch = Watch(engine)
    async with watch.running():
        engine.add("thief", labels=TASK)
        await pass_time(10)
        assert engine.calls["tasks"] <= 20
        assert engine.calls["list"] <= 3
        before = engine.calls["tasks"]
        await pass_time(300)
        assert engine.calls["tasks"] - before <= 12  # once for each reconciliation
        assert watch.states() == {"thief": ["ready"]}
