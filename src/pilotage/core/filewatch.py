"""Notices that files have changed, by looking: works across bind mounts, renames and swapped symbolic links alike."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["changes_of"]

_Marker = tuple[int, int, int, int] | None


async def changes_of(*files: str, every: float = 1.0) -> AsyncIterator[None]:
    """Yield whenever some of the files have changed, once all have stayed the same for one more look.

    Writers need their time, and a certificate and its key are two files.

    Args:
        files: their names; they need not exist.
        every: seconds between two looks.

    """
    known = before = _markers(files)
    while True:
        await asyncio.sleep(every)
        now = _markers(files)
        if now == before and now != known:
            known = now
            if None not in now:  # a file that is just being replaced, or has gone, is nothing to read
                yield
        before = now


def _markers(files: tuple[str, ...]) -> tuple[_Marker, ...]:
    return tuple(map(_marker, files))


def _marker(file: str) -> _Marker:
    try:
        status = Path(file).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
