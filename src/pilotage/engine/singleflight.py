"""One run of a coroutine for all who want its result at the same time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["SingleFlight"]

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs ``work`` once while anybody waits for it, whoever came first and whoever gives up.

    A waiter that is cancelled does not disturb the others. When the last one is, so is the work, and it has ended
    when that waiter goes on. Results and errors are not kept: who comes after the end starts a new run.

    Args:
        work: the coroutine function to run.

    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._waiters = 0

    async def result(self) -> T:
        """Wait for the run under way, or start one.

        Raises:
            Exception: whatever ``work`` raises; every waiter gets the same instance.
            ConnectionAbortedError: :meth:`cancel` was called meanwhile.

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
        """Cancel the run under way and wait for its end; nothing happens when there is none."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _ended(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # seen, even when the last waiter left in this very moment
        if self._task is task:
            self._task = None
