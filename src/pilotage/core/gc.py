"""Pauses Python's garbage collector while many long-lived objects are created."""

from __future__ import annotations

import gc
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

__all__ = ["gc_paused"]

_MIN_COUNT: Final = 50
_NOTHING: Final = nullcontext()


def gc_paused(count: int) -> AbstractContextManager[None]:
    """Return a context manager that pauses garbage collection, or does nothing if ``count`` is below 50.

    Decoding creates no cycles and no garbage, but the collector would scan the new objects repeatedly.
    Use this only around code without ``await``, because collection is paused for all other tasks, too.
    """
    return _paused() if count >= _MIN_COUNT and gc.isenabled() else _NOTHING


@contextmanager
def _paused() -> Generator[None, None, None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
