from __future__ import annotations

import asyncio
import gc

import pytest

from pilotage.engine.singleflight import SingleFlight


class Work:
    """Waits until it may finish, counts its runs, and fails when told to."""

    def __init__(self, *, finish: bool = False) -> None:
        self.runs = 0
        self.cancelled = 0
        self.error: Exception | None = None
        self.running = asyncio.Event()
        self.finish = asyncio.Event()
        self.ended = asyncio.Event()
        if finish:
            self.finish.set()

    async def __call__(self) -> int:
        self.runs += 1
        self.running.set()
        try:
            await self.finish.wait()
            if self.error is not None:
                raise self.error
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.ended.set()
        return self.runs


async def test_concurrent_callers_share_one_run() -> None:
    work = Work(finish=True)
    run = SingleFlight(work)
    assert await asyncio.gather(*(run.result() for _ in range(10))) == [1] * 10


async def test_a_later_caller_starts_a_new_run() -> None:
    run = SingleFlight(Work(finish=True))
    assert [await run.result(), await run.result()] == [1, 2]


async def test_a_failure_reaches_all_waiters_and_is_not_cached() -> None:
    work = Work(finish=True)
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
    await work.running.wait()
    first.cancel()
    await asyncio.wait([first])
    work.finish.set()
    assert await second == 1
    assert first.cancelled()
    assert work.cancelled == 0


async def test_when_all_waiters_are_cancelled_the_run_ends_first() -> None:
    work = Work()
    run = SingleFlight(work)
    tasks = [asyncio.create_task(run.result()) for _ in range(3)]
    await work.running.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert work.cancelled == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_caller_during_the_end_of_a_cancelled_run_starts_a_new_one() -> None:
    work = Work()
    run = SingleFlight(work)
    first = asyncio.create_task(run.result())
    await work.running.wait()
    first.cancel()
    await asyncio.sleep(0)  # the run has been cancelled, but has not ended
    assert not work.ended.is_set()
    work.finish.set()
    assert await run.result() == 2


async def test_cancelling_the_run_wakes_its_waiters() -> None:
    work = Work()
    run = SingleFlight(work)
    waiter = asyncio.create_task(run.result())
    await work.running.wait()
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
    await work.running.wait()
    work.finish.set()
    await work.ended.wait()
    waiter.cancel()
    await asyncio.wait([waiter])
    del run, waiter
    gc.collect()  # asyncio reports an exception that nobody has retrieved when its task is destroyed
    assert caplog.records == []
