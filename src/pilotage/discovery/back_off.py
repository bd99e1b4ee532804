"""Decides how long to pause between attempts to follow an engine."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pilotage.discovery.timing import Timing
    from pilotage.engine.config import DockerProviderConfig

__all__ = ["BackOff"]

_SOCKET_POLL: Final = 0.1  # seconds between checks for a new socket file while the engine is unreachable
_TICK: Final = 0.001  # seconds; event loops wake sleepers slightly early


class BackOff:
    """Pauses that grow while attempts fail and while sessions end soon after their first list.

    A session is an attempt that has opened the event stream and listed all containers.

    A failed attempt between two short sessions does not reset the growth: the pause after the second session is longer
    than the pause after the first.

    Args:
        config: the engine. If a new file appears at the path of its socket, the pause ends early.
        timing: the pauses.

    """

    def __init__(self, config: DockerProviderConfig, timing: Timing) -> None:
        self._path = config.url.removeprefix("unix://") if config.url.startswith("unix://") else None
        self._timing = timing
        self._failures = 0  # attempts without a list, in a row
        self._short = 0  # sessions with a list that ended early, in a row
        self._started = 0.0
        self._socket: tuple[int, int] | None = None

    def begin(self) -> None:
        """Record the beginning of an attempt."""
        self._started = _now()
        self._socket = self._socket_id()

    async def pause(self, *, listed_at: float) -> None:
        """Wait after the end of an attempt.

        Args:
            listed_at: loop time of the attempt's first list; 0 if the attempt failed before the list.

        """
        timing = self._timing
        if listed_at:
            self._failures = 0
            self._short = 0 if _now() - listed_at >= timing.lasting_session else self._short + 1
            since, first, times = _now(), timing.pause_after_session, self._short
        else:
            self._failures += 1
            since, first, times = self._started, timing.first_pause, self._failures
        pause = min(timing.longest_pause, first * 2 ** min(max(times - 1, 0), 16))
        jitter = random.uniform(0.75, 1.25)  # noqa: S311  # engines that return together are not contacted all at once
        await self._sleep_until(since + jitter * pause)

    async def _sleep_until(self, until: float) -> None:
        if self._path is None:
            await asyncio.sleep(until - _now())
            return
        while (left := until - _now()) > _TICK:
            current = self._socket_id()
            if current is not None and current != self._socket:
                return
            await asyncio.sleep(min(left, _SOCKET_POLL))

    def _socket_id(self) -> tuple[int, int] | None:
        """Return the identity of the engine's socket file, which a new file changes; ``None`` if there is no file."""
        if self._path is None:
            return None
        try:
            status = os.stat(self._path)  # noqa: PTH116
        except OSError:
            return None
        return status.st_ino, status.st_ctime_ns


def _now() -> float:
    return asyncio.get_running_loop().time()
