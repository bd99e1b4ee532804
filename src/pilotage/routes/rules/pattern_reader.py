"""Reads a pattern character by character, up to a limit. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["PatternReader"]

_LONGEST: Final = 1_000
_DEEPEST: Final = 20


class PatternReader:
    """The text, the position in it, and how many groups are open."""

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise ValueError(f"the pattern has more than {_LONGEST:,} characters")
        self.text, self.at, self.depth = text, 0, 0

    @property
    def next(self) -> str:
        """The next character; ``""`` at the end."""
        return self.text[self.at : self.at + 1]

    def take(self, expected: str = "") -> str:
        """Return the next character and go on. Raises ValueError at the end, or if another one is expected."""
        char = self.next
        if not char or (expected and char != expected):
            raise ValueError(f"the pattern lacks {expected!r}" if expected else "the pattern ends too early")
        self.at += 1
        return char

    def deeper(self) -> None:
        """Enter a group. Raises ValueError if too many are open."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ValueError(f"the pattern has more than {_DEEPEST} levels")
