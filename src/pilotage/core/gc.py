"""Pauses Python's garbage collector while many long-lived objects are created."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["gc_paused"]

_MIN_COUNT: Final = 50


@contextmanager
def gc_paused(count: int) -> Generator[None, None, None]:
    """Pause garbage collection while ``count`` containers are decoded. A small count has no effect.

    Decoding creates no cycles and no garbage, but the collector would scan the new objects repeatedly.
    Use this only around code without ``await``, because collection is paused for all other tasks, too.
    """
    if count < _MIN_COUNT or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
