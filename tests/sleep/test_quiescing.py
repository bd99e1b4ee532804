"""Containers are stopped only when no request can reach them any more."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.sleep.activity import Activity
from pilotage.sleep.datagrams import Datagrams
from pilotage.sleep.quiescing import Quiescing
from pilotage.table.table import Table
from pilotage.xds.load_reports import Load, Report
from tests.sleep.test_status import unit
from tests.support.gateway import route
from tests.support.waiting import pass_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.xds.resources import Key

NO_KEYS: frozenset[Key] = frozenset()


class Keeper:
    def __init__(self) -> None:
        self.accepts = asyncio.Event()
        self.accepts.set()

    async def wait_for_acks(self, _keys: Iterable[Key]) -> None:
        await self.accepts.wait()


class Evening:
    """A unit that falls asleep, and one Envoy."""

    def __init__(self, **settings: Any) -> None:
        self.keeper = Keeper()
        now = self.now()
        self.report = Report("edge", now, now, 1.0)
        routes = {"shop": route("shop", 80, **settings), "auth": route("auth", 81)}
        source: Any = SimpleNamespace(table=Table(routes))
        keeper: Any = self.keeper
        self.quiescing = Quiescing(Activity(lambda: [self.report]), keeper, source, Datagrams(), self.now)
        self.unit = unit()
        self.unit.aliases = {"shop"}

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    def reports(self, **in_progress: int) -> None:
        """Let the Envoy report what is in progress, for ``shop`` and ``auth``."""
        clusters = {"shop": "sleep/7/shop", "auth": "route/auth"}
        self.report.begun, self.report.at = self.report.at, self.now()
        self.report.loads = {clusters[name]: {"": Load(number)} for name, number in in_progress.items()}
        self.quiescing.reported()

    async def begin(self) -> asyncio.Task[bool]:
        await pass_time(0.5)  # the next report will have begun before
        return asyncio.create_task(self.quiescing.until_quiet(self.unit, NO_KEYS, [7]))


@pytest.mark.looptime
async def test_a_report_counts_only_if_it_began_after_the_switch() -> None:
    evening = Evening()
    quiet = await evening.begin()
    for _ in range(2):
        await pass_time(1)
        assert not quiet.done()
        evening.reports(shop=1)
    await pass_time(1)
    evening.reports()
    assert await quiet


@pytest.mark.looptime
async def test_a_request_that_waits_for_its_auth_service_is_waited_for() -> None:
    evening = Evening(middlewares={"forwardauth": {"route": "auth"}})
    quiet = await evening.begin()
    for _ in range(5):
        await pass_time(1)
        evening.reports(auth=1)
    assert not quiet.done()
    for _ in range(2):  # one shows that nobody asks any more, the next that nobody is let in any more
        await pass_time(1)
        evening.reports()
    await pass_time(1)
    evening.reports()
    assert await quiet


@pytest.mark.looptime
async def test_an_auth_service_that_always_answers_somebody_is_waited_for_as_long_as_an_answer_may_take() -> None:
    evening = Evening(middlewares={"forwardauth": {"route": "auth"}})
    began = evening.now()
    quiet = await evening.begin()
    while not quiet.done():
        await pass_time(1)
        evening.reports(auth=1)
    assert await quiet
    assert 12 <= evening.now() - began <= 16


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.looptime
async def test_activity_is_unknown_while_an_envoy_is_silent(*, accepts: bool) -> None:
    evening = Evening()
    if not accepts:
        evening.keeper.accepts.clear()
    began = evening.now()
    assert not await (await evening.begin())
    assert 3 <= evening.now() - began <= 5
