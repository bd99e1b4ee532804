from __future__ import annotations

import asyncio

import pytest

from pilotage.discovery.wakeup import Wakeup
from tests.support.waiting import pass_time
from tests.support.watched import now


@pytest.mark.looptime
async def test_a_wait_ends_at_the_deadline() -> None:
    wakeup, began = Wakeup(), now()
    await wakeup.wait(began + 5)
    assert now() - began == pytest.approx(5, abs=0.1)
    assert wakeup.is_set()


@pytest.mark.looptime
async def test_a_wait_ends_at_once_if_something_happens() -> None:
    wakeup, began = Wakeup(), now()
    wakeup.set()
    await wakeup.wait(began + 5)
    wakeup.clear()
    assert not wakeup.is_set()
    asyncio.get_running_loop().call_later(1, wakeup.set)
    await wakeup.wait(began + 5)
    assert now() - began == pytest.approx(1, abs=0.1)
    wakeup.cancel()


@pytest.mark.looptime
async def test_an_earlier_deadline_replaces_a_later_one() -> None:
    wakeup, began = Wakeup(), now()
    wakeup.set()
    await wakeup.wait(began + 50)
    wakeup.clear()
    await wakeup.wait(began + 5)
    assert now() - began == pytest.approx(5, abs=0.1)


@pytest.mark.looptime
async def test_after_a_later_deadline_a_wait_may_end_early_and_the_next_one_ends_in_time() -> None:
    wakeup, began = Wakeup(), now()
    wakeup.set()
    await wakeup.wait(began + 5)
    wakeup.clear()
    await wakeup.wait(began + 20)
    assert now() - began == pytest.approx(5, abs=0.1)
    wakeup.clear()
    await wakeup.wait(began + 20)
    assert now() - began == pytest.approx(20, abs=0.1)


@pytest.mark.looptime
async def test_a_cancelled_timer_wakes_nobody() -> None:
    wakeup, began = Wakeup(), now()
    wakeup.set()
    await wakeup.wait(began + 5)
    wakeup.clear()
    wakeup.cancel()
    await pass_time(10)
    assert not wakeup.is_set()
