"""Wakes one task when something happens, or at a given time."""

from __future__ import annotations

import asyncio

__all__ = ["Wakeup"]


class Wakeup:
    """An event that one task waits for, with a deadline.

    A deadline later than the previous deadline, which is the usual case, costs nothing: the previous timer stays and
    wakes the task too early. After each wait, the task must therefore check what is due.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        """Wake the task if it is waiting; otherwise its next wait returns immediately."""
        self._event.set()

    def is_set(self) -> bool:
        """Return whether the next wait would return immediately."""
        return self._event.is_set()

    def clear(self) -> None:
        """Forget that the task was woken."""
        self._event.clear()

    async def wait(self, until: float) -> None:
        """Wait until woken, at most until a time on the loop's clock. An earlier deadline may end the wait, too."""
        if self._timer is None or self._timer.when() > until:
            self.cancel()
            self._timer = asyncio.get_running_loop().call_at(until, self._expire)
        await self._event.wait()

    def cancel(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        self._event.set()
