"""Pausing Python's garbage collector while many objects are made that all stay."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["collector_paused"]

_WORTH_IT: Final = 500


@contextmanager
def collector_paused(count: int) -> Generator[None, None, None]:
    """Pause the collector while about ``count`` containers are read; for a few it is left alone.

    Reading makes no cycles, and nothing of it is garbage, yet the collector would walk all of it again and again. Only
    for code that does not wait: other tasks shall not run meanwhile.
    """
    if count < _WORTH_IT or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
