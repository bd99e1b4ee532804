"""Lets only a few units wake on an engine at the same time, so that a wake-up storm does not overload its machine."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

__all__ = ["LONGEST_TURN", "MOST_AT_ONCE", "Turns"]

MOST_AT_ONCE: Final = 4
"""How many units one engine wakes at the same time. The others queue."""

LONGEST_TURN: Final = 30.0
"""Seconds after which a unit that is still waking no longer keeps the next one waiting.

Otherwise, four services that never answer would keep all others on their engine from waking, for as long as their
labels say.
"""


class Turns:
    """The turns of all engines.

    Args:
        longest: how long a turn keeps others waiting, in seconds.

    """

    def __init__(self, longest: float = LONGEST_TURN) -> None:
        self._longest = longest
        self._free: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def take(self, engines: Iterable[str], on_wait: Callable[[], object]) -> AsyncGenerator[None]:
        """Wait for a turn on each of the given engines, in the order of arrival, and keep it during the context.

        Args:
            engines: names of the engines.
            on_wait: called if others come first.

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
