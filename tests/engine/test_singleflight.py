from __future__ import annotations

import asyncio

import pytest

from pilotage.engine.singleflight import SingleFlight

pytestmark = pytest.mark.looptime


class Work:
    """Takes a second, counts its runs, and fails when told to."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.started += 1
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return self.started


async def test_concurrent_callers_share_one_run() -> None:
    work = Work()
    run = SingleFlight(work)
    assert await asyncio.gather(*(run.result() for _ in range(10))) == [1] * 10


async def test_a_later_caller_starts_a_new_run() -> None:
    run = SingleFlight(Work())
    assert [await run.result(), await run.result()] == [1, 2]


async def test_a_failure_reaches_all_waiters_and_is_not_cached() -> None:
    work = Work()
    run = SingleFlight(work)
    work.error = ValueError("no")
    results = await asyncio.gather(*(run.result() for _ in range(3)), return_exceptions=True)
    assert results == [work.error] * 3
    work.error = None
    assert await run.result() == 2


async def test_a_cancelled_waiter_does_not_abort_the_shared_run() -> None:
    work = Work()
    run = SingleFlight(work)
    first, second = asyncio.create_task(run.result()), asyncio.create_task(run.result())
    await asyncio.sleep(0.5)
    first.cancel()
    assert await second == 1
    assert first.cancelled()
    assert work.cancelled == 0


async def test_when_all_waiters_are_cancelled_the_run_ends_first() -> None:
    work = Work()
    run = SingleFlight(work)
    tasks = [asyncio.create_task(run.result()) for _ in range(3)]
    await asyncio.sleep(0.5)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert work.cancelled == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_caller_during_the_end_of_a_cancelled_run_starts_a_new_one() -> None:
    work = Work()
    run = SingleFlight(work)
    first = asyncio.create_task(run.result())
    await asyncio.sleep(0.5)
    first.cancel()
    await asyncio.sleep(0)
    assert await run.result() == 2


async def test_cancelling_the_run_tells_its_waiters() -> None:
    run = SingleFlight(Work())
    waiter = asyncio.create_task(run.result())
    await asyncio.sleep(0.5)
    await run.cancel()
    with pytest.raises(ConnectionAbortedError):
        await waiter
    await run.cancel()


async def test_a_failure_without_waiters_is_not_reported_as_unretrieved(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = Work()
    run = SingleFlight(work)
    work.error = ValueError("no")
    waiter = asyncio.create_task(run.result())
    await asyncio.sleep(1)
    waiter.cancel()
    await asyncio.wait([waiter])
    await asyncio.sleep(1)
    assert caplog.records == []
