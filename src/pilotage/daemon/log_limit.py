"""Limits how often the log repeats a message, so that no engine and no container can fill the disk."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LogLimit"]

_REPEATS: Final = 5
"""How often a message is written before it is limited to once per :data:`_INTERVAL`."""

_INTERVAL: Final = 60.0
"""Seconds between two writes of a limited message."""

_BURST: Final = 1000
"""Maximum number of messages that one component may write at once."""

_RATE: Final = 5.0
"""Messages per second that one component may write in the long run."""

_MEMORY: Final = 1000
"""Maximum number of messages remembered. The least recently repeated one is forgotten first."""


class _Bucket:
    """A token bucket.

    Args:
        size: number of tokens, all available at first.
        rate: number of tokens added each second.
        now: the current time in seconds.

    """

    __slots__ = ("omitted", "rate", "size", "tokens", "updated")

    def __init__(self, size: int, rate: float, now: float) -> None:
        self.size = size
        self.rate = rate
        self.tokens = float(size)
        self.updated = now
        self.omitted = 0

    def take(self, now: float) -> bool:
        """Take a token and return True. If no token is left, count a message as omitted and return False."""
        self.tokens = min(self.size, self.tokens + (now - self.updated) * self.rate)
        self.updated = now
        if self.tokens < 1:
            self.omitted += 1
            return False
        self.tokens -= 1
        return True


class LogLimit(logging.Filter):
    """Lets the same message pass five times, then once a minute. Limits each component to five messages a second.

    The limit per second applies only after a component has written a burst of 1,000 messages.

    The first message after an omission says how many were omitted. Debug messages are not limited.

    Args:
        clock: returns the current time in seconds.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._texts: OrderedDict[int, _Bucket] = OrderedDict()
        self._components: dict[str, _Bucket] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write a record. Add a note to the record if other messages were or will be omitted."""
        if record.levelno <= logging.DEBUG:
            return True
        now, text = self._clock(), record.getMessage()
        key = hash((record.levelno, record.name, text))
        repeated = self._texts.setdefault(key, _Bucket(_REPEATS, 1 / _INTERVAL, now))
        self._texts.move_to_end(key)
        if len(self._texts) > _MEMORY:
            self._texts.popitem(last=False)
        component = self._components.setdefault(record.name, _Bucket(_BURST, _RATE, now))
        if not repeated.take(now) or not component.take(now):
            return False
        notes = []
        if repeated.omitted:
            notes.append(f"{repeated.omitted} more since the last one")
        elif repeated.tokens < 1:
            notes.append("repeated; from now on logged at most once a minute")
        if component.omitted:
            notes.append(f"{component.omitted} other messages were omitted because there were too many")
        repeated.omitted = component.omitted = 0
        if notes:
            record.msg, record.args = f"{text} ({'; '.join(notes)})", ()
        return True
