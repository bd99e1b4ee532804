"""Limits how many units one engine wakes at the same time, so that many wake-ups do not overload the machine."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

__all__ = ["LONGEST_TURN", "MOST_AT_ONCE", "Turns"]

MOST_AT_ONCE: Final = 4
"""Number of units that one engine wakes at the same time. The others queue."""

LONGEST_TURN: Final = 30.0
"""Seconds after which a unit that is still waking no longer keeps the next one waiting.

Otherwise, four services that never answer would keep all others on their engine from waking until their
``wake_timeout`` has passed.
"""


class Turns:
    """Gives out at most :data:`MOST_AT_ONCE` turns at a time to wake containers on each engine.

    Args:
        longest: seconds after which a turn no longer keeps other containers waiting.

    """

    def __init__(self, longest: float = LONGEST_TURN) -> None:
        self._longest = longest
        self._free: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def take(self, engines: Iterable[str], on_wait: Callable[[], object]) -> AsyncGenerator[None]:
        """Wait for a turn on each given engine, first come, first served. Keep the turns until the context ends.

        Args:
            engines: names of the engines.
            on_wait: called if a turn is not available at once.

        """
        taken: list[asyncio.Semaphore] = []

        def give_back() -> None:
            while taken:
                taken.pop().release()

        try:
            for engine in sorted(engines):  # the same order for all, so that no two units wait for each other
                free = self._free.setdefault(engine, asyncio.Semaphore(MOST_AT_ONCE))
                if free.locked():
                    on_wait()
                await free.acquire()
                taken.append(free)
            timer = asyncio.get_running_loop().call_later(self._longest, give_back)
            try:
                yield
            finally:
                timer.cancel()
        finally:
            give_back()
