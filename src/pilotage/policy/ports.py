"""Parses ranges of ports; lists the ports on which containers may listen only with permission. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TAKEN_PORTS", "in_ranges", "parse_range", "show_ranges"]

TAKEN_PORTS: Final = {
    22: "the SSH port",
    2375: "a port used by container engines",
    2376: "a port used by container engines",
    2377: "a port used by container engines",
}
"""Port -> what uses it (decision 35)."""

_RANGE: Final = re.compile(r"\s*([0-9]{1,5})(?:\s*-\s*([0-9]{1,5}))?\s*")


def parse_range(text: str) -> tuple[int, int] | None:
    """Return the first and last port of ``9000`` or ``9000-9100``; ``None`` if the text is neither."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first, last = int(match[1]), int(match[2] or match[1])
    return (first, last) if 1 <= first <= last <= 65535 else None


def in_ranges(port: int, ranges: Iterable[tuple[int, int]]) -> bool:
    """Return whether a port is in one of the ranges."""
    return any(first <= port <= last for first, last in ranges)


def show_ranges(ranges: Iterable[tuple[int, int]]) -> str:
    """Return ranges as text: ``9000-9100, 9443``."""
    return ", ".join(f"{first}-{last}" if first != last else str(first) for first, last in ranges)
