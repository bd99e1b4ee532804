"""Shares one run of a coroutine among concurrent callers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["SingleFlight"]

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs ``work`` at most once at a time; concurrent callers share the run.

    A cancelled waiter does not abort the shared run. Cancelling the last waiter cancels the run and waits for its end.
    Results and errors are not cached: a caller that arrives after the end starts a new run.

    Args:
        work: coroutine function to run.

    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._waiters = 0

    async def result(self) -> T:
        """Return the result of the current run. Start one if there is none.

        Raises:
            Exception: any exception of ``work``; all waiters get the same instance.
            ConnectionAbortedError: :meth:`cancel` was called.

        """
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
            self._task.add_done_callback(self._ended)
            self._waiters = 0
        task = self._task
        self._waiters += 1
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            if self._task is task and self._waiters == 1:
                await self.cancel()
            raise
        finally:
            if self._task is task:
                self._waiters -= 1
        if task.cancelled():
            raise ConnectionAbortedError
        return task.result()

    async def cancel(self) -> None:
        """Cancel the current run, if any, and wait for its end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _ended(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # marks it as retrieved, because the last waiter may just have been cancelled
        if self._task is task:
            self._task = None
