"""Splits the response to ``GET /containers/json`` into entries while it arrives. Pure.

The body is never held in one piece, so splitting takes little memory beyond the entries that are kept. Size limits take
effect while the list arrives.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pilotage.engine.types import DECODE_ERRORS, split_list

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

__all__ = ["LIST_MAXIMUM", "ElementTooLongError", "ListSplitter", "TooManyContainersError"]

LIST_MAXIMUM: Final = 50_000
"""Maximum number of containers on one engine."""

ELEMENT_LIMIT: Final = 4 * 2**20
"""Maximum bytes of one container in the list."""

_STEP: Final = 2**17  # bytes to split at a time
_SEAM: Final = b'},{"Id":'  # between two entries from Docker and Podman
_LOOSE_SEAM: Final = re.compile(rb'\}\s*(,)\s*\{\s*"Id"\s*:')  # if a proxy has reformatted the list


class ElementTooLongError(Exception):
    """One container takes more than :data:`ELEMENT_LIMIT`."""


class TooManyContainersError(Exception):
    """The list has more than :data:`LIST_MAXIMUM` containers."""


class ListSplitter:
    """Passes on the entries of one list while the list arrives.

    Args:
        take: receives the entries in batches, as one raw JSON slice per container.

    Attributes:
        count: number of entries so far.

    """

    def __init__(self, take: Callable[[list[msgspec.Raw]], object]) -> None:
        self.count = 0
        self._pass_on = take
        self._rest = bytearray()
        self._begun = False
        self._enough = _STEP  # bytes at which to look for a seam; doubled if there is none

    def feed(self, chunk: bytes) -> None:
        """Take the next part of the body.

        Raises:
            TooManyContainersError: there are too many entries.
            ElementTooLongError: one entry is too long.

        """
        self._rest += chunk
        if len(self._rest) < self._enough:
            return
        end = self._last_seam()
        if end > 0 and self._take(end):
            self._enough = _STEP
            return
        self._enough = 2 * len(self._rest)
        if len(self._rest) > ELEMENT_LIMIT:
            raise ElementTooLongError(f"a container takes more than {ELEMENT_LIMIT // 2**20} MiB in the engine's list")

    def finish(self) -> None:
        """Pass on the last entries once the body has ended.

        Raises:
            TooManyContainersError: there are too many entries.
            msgspec.DecodeError: the body is not a JSON list.
            RecursionError: an entry is nested too deeply.

        """
        found = split_list((b"[" if self._begun else b"") + bytes(self._rest))
        self._rest.clear()
        self._extend(found)

    def _last_seam(self) -> int:
        """Return the index of the last comma that looks as if it were between two entries; 0 if there is none."""
        found = self._rest.rfind(_SEAM)
        if found >= 0:
            return found + 1
        return max((match.start(1) for match in _LOOSE_SEAM.finditer(self._rest)), default=0)

    def _take(self, end: int) -> bool:
        """Pass on the entries before a comma. Return False if the comma is inside an entry, not between two."""
        try:
            found = split_list(b"".join((b"[" if self._begun else b"", memoryview(self._rest)[:end], b"]")))
        except DECODE_ERRORS:
            return False
        del self._rest[: end + 1]
        self._begun = True
        self._extend(found)
        return True

    def _extend(self, found: list[msgspec.Raw]) -> None:
        self.count += len(found)
        if self.count > LIST_MAXIMUM:
            raise TooManyContainersError
        self._pass_on(found)
