"""Few units wake at the same time."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from pilotage.sleep.turns import LONGEST_TURN, MOST_AT_ONCE, Turns
from tests.support.waiting import pass_time


class Crowd:
    """Tasks that take turns."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.waited: list[int] = []
        self.has_turn: list[int] = []
        self.go_on = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def join(self, *engines: str) -> None:
        self.tasks.append(asyncio.create_task(self._take(len(self.tasks), engines)))

    async def _take(self, number: int, engines: tuple[str, ...]) -> None:
        async with self.turns.take(engines, lambda: self.waited.append(number)):
            self.has_turn.append(number)
            await self.go_on.wait()

    async def leave(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.mark.looptime
async def test_each_engine_has_its_own_turns_in_the_order_of_arrival() -> None:
    crowd = Crowd()
    for engine in ("a", "a", "a", "a", "a", "a", "b"):
        crowd.join(engine)
    await pass_time(1)
    assert (crowd.has_turn, crowd.waited) == ([0, 1, 2, 3, 6], [4, 5])
    assert MOST_AT_ONCE == 4
    crowd.tasks[4].cancel()
    crowd.tasks[1].cancel()
    await pass_time(1)
    assert crowd.has_turn == [0, 1, 2, 3, 6, 5]
    await crowd.leave()


@pytest.mark.looptime
async def test_units_that_never_answer_keep_others_waiting_only_for_a_while() -> None:
    crowd = Crowd()
    for _ in range(9):
        crowd.join("a")
    await pass_time(LONGEST_TURN - 1)
    assert len(crowd.has_turn) == 4
    await pass_time(2)
    assert len(crowd.has_turn) == 8
    crowd.go_on.set()  # the first four give nothing back a second time
    await pass_time(1)
    assert len(crowd.has_turn) == 9
    again = Crowd()
    again.turns = crowd.turns
    for _ in range(6):
        again.join("a")
    await pass_time(1)
    assert len(again.has_turn) == 4
    await again.leave()


@pytest.mark.looptime
async def test_units_on_several_engines_never_wait_for_each_other_for_ever() -> None:
    crowd = Crowd()
    for engines in (("a", "b"), ("b", "a")) * 10:
        crowd.join(*engines)
    crowd.go_on.set()
    await pass_time(1)
    assert len(crowd.has_turn) == 20


async def test_without_an_engine_there_is_nothing_to_wait_for() -> None:
    turns = Turns()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(10):
            await stack.enter_async_context(turns.take((), pytest.fail))
