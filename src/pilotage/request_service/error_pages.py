"""Reads the error pages of the operator, ``404.html`` and so on, and the files in the same folder that they use."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final

from pilotage.core.textfile import UnreadableFile, read_text

__all__ = ["ErrorPages"]

_LARGEST: Final = 256 * 1024
_FRESH: Final = 2.0
"""Minimum seconds between two reads of a page, because clients can cause many errors."""

_LARGEST_ASSET: Final = 1024 * 1024
_MOST_ASSETS: Final = 32
"""Maximum number of files that are kept for a short time, 32 MiB in all."""

_OTHER: Final = "404.html"
"""The page for statuses without one of their own, as in GoDoxy."""


class ErrorPages:
    """The pages of a folder. Each is read when it is needed, and kept for a short time.

    Args:
        folder: path of the folder.

    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._known: dict[str, tuple[float, bytes]] = {}
        self._assets: dict[str, tuple[float, bytes]] = {}

    def page(self, status: int) -> bytes:
        """Return the page for a status; empty if there is none. This reads files, so call it in a thread."""
        return self._read(f"{status}.html") or self._read(_OTHER)

    def asset(self, name: str) -> bytes | None:
        """Return a file that a page uses; ``None`` if there is none of this name. This reads files, too.

        Args:
            name: its name, which is untrusted. Names of hidden files and files in subfolders are refused.

        """
        if not name.isprintable() or name.startswith(".") or "/" in name or not 0 < len(name.encode()) < 256:
            return None
        now = time.monotonic()
        known = self._assets.get(name)
        if known is not None and now - known[0] < _FRESH:
            return known[1]
        content = _content(Path(self.folder, name))
        self._assets.pop(name, None)
        if content is not None:
            if len(self._assets) >= _MOST_ASSETS:
                self._assets.pop(next(iter(self._assets)))
            self._assets[name] = (now, content)
        return content

    def _read(self, name: str) -> bytes:
        now = time.monotonic()
        known = self._known.get(name)
        if known is not None and now - known[0] < _FRESH:
            return known[1]
        try:
            content = read_text(Path(self.folder, name)).encode()
        except UnreadableFile:
            content = b""
        if len(content) > _LARGEST:
            content = b""
        self._known[name] = (now, content)
        return content


def _content(path: Path) -> bytes | None:
    """Return the content of a regular file; ``None`` if it is anything else, is too large or cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor has no path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        content = file.read(_LARGEST_ASSET + 1)
    return content if len(content) <= _LARGEST_ASSET else None
