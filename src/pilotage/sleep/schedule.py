"""Tracks when each unit is checked next, and wakes tasks that wait for changes to units."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pilotage.sleep.units import Unit

__all__ = ["Schedule", "Watchers"]


class Schedule:
    """The times at which units are checked next."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Unit]] = []
        self._numbers = itertools.count()
        self._changed = asyncio.Event()

    def add(self, unit: Unit, due: float) -> None:
        """Schedule a check of a unit, unless one is already scheduled for an earlier time."""
        if unit.scheduled is not None and due >= unit.scheduled:
            return
        unit.scheduled = due
        heapq.heappush(self._due, (due, next(self._numbers), unit))
        if self._due[0][2] is unit:
            self._changed.set()
            self._changed = asyncio.Event()

    def take_due(self, now: float) -> Iterator[Unit]:
        """Remove the units that are due from the schedule, and yield them."""
        while self._due and self._due[0][0] <= now:
            due, _, unit = heapq.heappop(self._due)
            if unit.scheduled == due:
                unit.scheduled = None
                yield unit

    async def wait(self, now: float) -> None:
        """Wait until the next unit is due, or until another unit is scheduled for an earlier time."""
        delay = self._due[0][0] - now if self._due else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._changed.wait()


class Watchers:
    """The tasks that wait for changes to routes."""

    def __init__(self) -> None:
        self._events: dict[str, set[asyncio.Event]] = {}

    async def changed(self, alias: str) -> None:
        """Wait until the containers of a route enter another phase or wake-up step."""
        event = asyncio.Event()
        self._events.setdefault(alias, set()).add(event)
        try:
            await event.wait()
        finally:
            self._events[alias].discard(event)
            if not self._events[alias]:
                del self._events[alias]

    def notify(self, aliases: Iterable[str]) -> None:
        """Wake all tasks that wait for a change to any of the given routes."""
        for alias in aliases:
            for event in self._events.get(alias, ()):
                event.set()
