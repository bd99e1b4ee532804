"""Numbers the clusters that requests wait for. Pure.

Envoy asks for a cluster only once. After it has been told that the cluster does not exist, or the cluster has been
removed, it never asks for that name again. A name must therefore not be reused while an Envoy that has seen it is
running.
"""

from __future__ import annotations

import time

__all__ = ["Epochs"]

_LARGEST = 10**15


class Epochs:
    """Gives out numbers. Each is higher than all earlier numbers and all numbers that Envoys have seen.

    Args:
        first: the first number; by default, the current time in seconds. The clock may have been set back since an
            Envoy saw a number, so :meth:`seen` must be called with every number that an Envoy has.

    """

    def __init__(self, first: int | None = None) -> None:
        self._last = (int(time.time()) if first is None else first) - 1

    def next(self) -> int:
        """Return a new number."""
        self._last += 1
        return self._last

    def seen(self, number: int) -> None:
        """Record a number that an Envoy has. All numbers given out later are higher."""
        if number < _LARGEST:
            self._last = max(self._last, number)
