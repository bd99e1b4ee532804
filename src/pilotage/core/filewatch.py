"""Watches files by polling, which also works across bind mounts, renames and swapped symbolic links."""

from __future__ import annotations

import asyncio
import glob
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

__all__ = ["watch_files", "watch_matching"]

_FileState = tuple[int, int, int, int] | None


async def watch_files(*files: str, every: float = 1.0) -> AsyncIterator[None]:
    """Yield whenever any of the files has changed and all of them have then been stable for one interval.

    During that interval, a writer can finish, or replace the key that belongs to a renewed certificate.

    Args:
        files: paths; they need not exist.
        every: polling interval in seconds.

    """
    reported = previous = _stat_all(files)
    while True:
        await asyncio.sleep(every)
        current = _stat_all(files)
        if current == previous and current != reported:
            reported = current
            if None not in current:  # a missing file is being replaced or was deleted: there is nothing to read
                yield
        previous = current


async def watch_matching(patterns: Callable[[], Iterable[str]], every: float = 1.0) -> AsyncIterator[None]:
    """Yield whenever matching files have appeared, changed or disappeared and have then been stable for one interval.

    Args:
        patterns: returns the current patterns; a pattern without wildcards is the name of one file.
        every: polling interval in seconds.

    """
    reported = previous = _matching(patterns())
    while True:
        await asyncio.sleep(every)
        current = _matching(patterns())
        if current == previous and current != reported:
            reported = current
            yield
        previous = current


def _matching(patterns: Iterable[str]) -> dict[str, _FileState]:
    return {name: _stat(name) for pattern in patterns for name in glob.glob(pattern)}  # noqa: PTH207  # whole patterns


def _stat_all(files: tuple[str, ...]) -> tuple[_FileState, ...]:
    return tuple(map(_stat, files))


def _stat(file: str) -> _FileState:
    try:
        status = Path(file).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
