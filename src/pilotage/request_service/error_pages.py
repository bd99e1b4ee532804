"""Reads the error pages of the operator: ``404.html``, ``502.html`` and so on in one folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from pilotage.core.textfile import UnreadableFile, read_text

__all__ = ["ErrorPages"]

_LARGEST: Final = 256 * 1024
_FRESH: Final = 2.0
"""Minimum seconds between two reads of a page, because clients can cause many errors."""

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

    def page(self, status: int) -> bytes:
        """Return the page for a status; empty if there is none. This reads files, so call it in a thread."""
        return self._read(f"{status}.html") or self._read(_OTHER)

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
