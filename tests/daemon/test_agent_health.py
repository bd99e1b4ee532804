"""Checks through agents, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage.core.errors import EngineUnreachable
from pilotage.daemon.agent_health import AgentHealthWatcher, health_query
from pilotage.engine.agents import AgentHealth
from pilotage.routes.schema import HealthCheck
from pilotage.table.table import Table
from pilotage.xds.agent import Agent
from pilotage.xds.backend import Member
from tests.support.gateway import route
from tests.support.waiting import pass_time

if TYPE_CHECKING:
    from collections.abc import Mapping

FAR = Agent("10.0.0.2:8890", "far", "10.0.0.2")


class Checking:
    """A watcher whose agent says what the test wants."""

    def __init__(self) -> None:
        self.healthy: dict[str, bool] = {}
        self.away = False
        self.asked: list[tuple[str, Mapping[str, str], float]] = []
        self.reports: list[tuple[str, dict[str, str]]] = []
        self.table = Table()
        self.watcher = AgentHealthWatcher(self.members, self.ask, self.report)

    def members(self, alias: str) -> list[Member]:
        found = self.table.routes.get(alias)
        return [Member(endpoint, agent=FAR) for endpoint in found.endpoints] if found is not None else []

    async def ask(self, address: str, query: Mapping[str, str], timeout: float) -> AgentHealth:  # noqa: ASYNC109
        self.asked.append((address, query, timeout))
        if self.away:
            raise EngineUnreachable("far", "away")
        return AgentHealth(self.healthy.get(query["host"], True))

    def report(self, alias: str, health: Any) -> None:
        self.reports.append((alias, {address: it.state for address, it in health.items()}))

    def follow(self, *ports: int, **fields: Any) -> None:
        check = HealthCheck(interval=10.0, timeout=2.0, retries=2, path="/up")
        given = {"agent": FAR.address, "healthcheck": check, **fields}
        self.table = Table({"app": route("app", *ports, **given)}, version=self.table.version + 1)
        self.watcher.follow(self.table, ["app"])


@pytest.mark.looptime
async def test_an_endpoint_is_checked_at_the_interval_of_its_route() -> None:
    it = Checking()
    it.follow(80)
    await pass_time(25)
    assert it.asked == [(FAR.address, {"scheme": "http", "host": "127.0.0.1:80", "path": "/up"}, 2.0)] * 3
    assert it.reports == [("app", {"127.0.0.1:80": "healthy"})]
    await it.watcher.close()


@pytest.mark.looptime
async def test_an_endpoint_is_unhealthy_after_as_many_failures_as_its_route_allows() -> None:
    it = Checking()
    it.follow(80, 81)
    await pass_time(1)
    it.healthy["127.0.0.1:81"] = False
    await pass_time(10)
    assert it.reports[-1][1]["127.0.0.1:81"] == "healthy"
    await pass_time(10)
    assert it.reports[-1] == ("app", {"127.0.0.1:80": "healthy", "127.0.0.1:81": "unhealthy"})
    it.healthy["127.0.0.1:81"] = True
    await pass_time(10)
    assert it.reports[-1][1]["127.0.0.1:81"] == "healthy"
    await it.watcher.close()


@pytest.mark.looptime
async def test_nothing_changes_while_the_agent_is_away() -> None:
    it = Checking()
    it.follow(80)
    await pass_time(1)
    it.away = True
    await pass_time(60)
    assert len(it.reports) == 1
    await it.watcher.close()


@pytest.mark.looptime
@pytest.mark.parametrize("fields", [{"agent": ""}, {"labelled": ()}, {"health_check": False}])
async def test_a_route_that_needs_no_check_gets_none(fields: dict[str, Any]) -> None:
    it = Checking()
    it.follow(80, **fields)
    await pass_time(30)
    assert it.asked == []
    it.follow(80)
    await pass_time(1)
    it.follow(80, **fields)
    await pass_time(30)
    assert (len(it.asked), it.reports[-1]) == (1, ("app", {}))
    await it.watcher.close()


@pytest.mark.looptime
async def test_an_endpoint_that_goes_is_forgotten() -> None:
    it = Checking()
    it.follow(80, 81)
    await pass_time(1)
    it.follow(80)
    await pass_time(10)
    assert it.reports[-1] == ("app", {"127.0.0.1:80": "healthy"})
    await it.watcher.close()


@pytest.mark.looptime
async def test_an_endpoint_that_comes_back_does_not_inherit_failures() -> None:
    it = Checking()
    it.healthy["127.0.0.1:81"] = False
    it.follow(80, 81)
    await pass_time(1)
    it.follow(80)
    await pass_time(10)
    it.follow(80, 81)
    await pass_time(10)
    assert it.reports[-1] == ("app", {"127.0.0.1:80": "healthy", "127.0.0.1:81": "pending"})
    await it.watcher.close()


def test_a_query_can_ask_for_a_connection_only() -> None:
    (endpoint,) = route("app", 80).endpoints
    query = health_query(route("app", 80), Member(endpoint, agent=FAR), scheme="tcp")
    assert (query["scheme"], query["host"]) == ("tcp", "127.0.0.1:80")
