"""When units are looked at next."""

from __future__ import annotations

import asyncio

import pytest

from pilotage.sleep.schedule import Schedule, Watchers
from tests.sleep.test_status import unit
from tests.support.waiting import pass_time


@pytest.mark.looptime
async def test_units_are_due_in_order_and_once() -> None:
    schedule, first, second = Schedule(), unit(), unit()
    schedule.add(second, 20.0)
    schedule.add(first, 10.0)
    schedule.add(first, 15.0)  # it is looked at before that
    assert list(schedule.take_due(9.0)) == []
    assert list(schedule.take_due(20.0)) == [first, second]
    schedule.add(second, 30.0)
    schedule.add(second, 25.0)
    assert list(schedule.take_due(30.0)) == [second]


@pytest.mark.looptime
async def test_waiting_ends_when_a_unit_is_due_or_an_earlier_one_is_added() -> None:
    schedule, loop = Schedule(), asyncio.get_running_loop()
    schedule.add(unit(), 5.0)
    began = loop.time()
    await schedule.wait(0.0)
    assert loop.time() - began == 5
    waiting = asyncio.create_task(schedule.wait(0.0))
    await pass_time(1)
    schedule.add(unit(), 2.0)
    await waiting
    assert loop.time() - began == 6


async def test_a_watcher_sees_the_changes_of_its_route_only() -> None:
    watchers = Watchers()
    waiting = asyncio.create_task(watchers.changed("shop"))
    await asyncio.sleep(0)
    watchers.notify(["blog"])
    await asyncio.sleep(0)
    assert not waiting.done()
    watchers.notify(["shop"])
    await waiting
    assert watchers._events == {}
