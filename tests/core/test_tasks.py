from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest

from pilotage.core.tasks import run_until_failure
from tests.support.waiting import pass_time

ENDED: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ended() -> None:
    ENDED.clear()


async def endless(name: str) -> NoReturn:
    try:
        await asyncio.Event().wait()
    finally:
        ENDED.append(name)
    raise AssertionError


async def fail() -> NoReturn:
    await pass_time(1)
    raise ValueError("first")


async def fail_when_cancelled() -> NoReturn:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise ValueError("at the same time") from None
    raise AssertionError


@pytest.mark.looptime
async def test_the_first_failure_ends_the_others_and_is_raised() -> None:
    with pytest.raises(ValueError, match="first"):
        await run_until_failure({"a": endless("a"), "b": fail(), "c": fail_when_cancelled()})
    assert ENDED == ["a"]


@pytest.mark.looptime
@pytest.mark.parametrize("times", [1, 2])
async def test_a_failure_at_the_same_time_does_not_undo_a_cancellation(times: int) -> None:
    task = asyncio.create_task(run_until_failure({"a": endless("a"), "b": fail_when_cancelled()}))
    await pass_time(1)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task], timeout=3600)
    assert task.cancelled()
    assert ENDED == ["a"]
