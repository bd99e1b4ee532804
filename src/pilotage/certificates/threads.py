"""Runs blocking functions in threads that do not keep the process from exiting."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_thread"]

_T = TypeVar("_T")


async def in_thread(function: Callable[[], _T], patience: float) -> _T:
    """Run a blocking function in a thread of its own.

    The thread is a daemon thread, because Python would wait at exit for a thread of ``asyncio.to_thread``.

    Args:
        function: the function to run.
        patience: seconds to wait for the result. After that, the function still runs to its end, but its result is
            ignored.

    Raises:
        TimeoutError: the function takes longer.

    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[_T] = loop.create_future()

    def settle(value: _T | None, error: BaseException | None) -> None:
        if result.done():  # cancelled, or too late
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]  # the function's own result

    def run() -> None:
        value, failure = None, None
        try:
            value = function()
        except BaseException as error:  # noqa: BLE001  # passed on to the caller
            failure = RuntimeError(repr(error)) if isinstance(error, StopIteration) else error
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=run, name="certificates", daemon=True).start()
    async with asyncio.timeout(patience):
        return await result
