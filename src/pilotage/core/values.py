"""Parses single values: durations, Go booleans, comma-separated lists. Pure.

Rules: decisions 6 to 8; LABELS II.2.1, II.5.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FALSE", "TRUE", "ParseError", "comma_list", "go_bool", "parse_duration"]


class ParseError(ValueError):
    """A text cannot be parsed.

    Attributes:
        message: why the text cannot be parsed, without a full stop.
        line, column: 1-based position in the text; 0 for a single value.

    """

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        self.message = message
        self.line = line
        self.column = column
        super().__init__(message)


TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def go_bool(text: str) -> bool | None:
    """Parse a boolean as Go's ``strconv.ParseBool`` does (decision 8); return ``None`` for any other text."""
    if text in TRUE:
        return True
    return False if text in FALSE else None


def comma_list(text: str, most: int = -1) -> list[str]:
    """Split on commas and white space and drop empty items (LABELS II.2.1): ``"a b,,c"`` gives ``[a, b, c]``.

    Args:
        text: the list.
        most: stop after this many items and return the rest as one more item. A negative number means no limit.

    """
    return text.replace(",", " ").split(None, most)


_UNITS: Final[Mapping[str, int]] = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
    "M": 2_592_000_000_000_000,
}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([a-zA-Zµμ]+)")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LONGEST: Final = 2**63 - 1
_LONGEST_TEXT: Final = 256  # characters; int() refuses numbers of a few thousand digits


def parse_duration(text: str) -> float:
    """Parse a duration and return it in seconds.

    Examples: ``"1h30m"``, ``"1.5s"``, ``"2d"``, ``"-1s"``. The units are ``ns us ms s m h d w M`` (LABELS II.5). An
    integer without a unit is in seconds (decision 7).

    Raises:
        ParseError: the text is not a duration, has an unknown unit, or means more than 2^63 ns.

    """
    if len(text) > _LONGEST_TEXT:
        raise ParseError("not a duration; write a number with a unit, such as 30s, 5m or 1h30m")
    if _INTEGER.fullmatch(text):
        total = int(text) * 1_000_000_000
        if abs(total) > _LONGEST:
            raise ParseError("the duration is longer than 292 years")
        return total / 1e9
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    end, total = 0, 0
    for part in _PART.finditer(rest):
        if part.start() != end:
            break
        number, unit = part.groups()
        if unit not in _UNITS:
            raise ParseError(f"unknown unit {unit!r}; the units are ms, s, m, h, d, w, M (month)")
        whole, _, fraction = number.partition(".")
        scale = _UNITS[unit]
        total += int(whole or 0) * scale
        if fraction:
            total += int(fraction) * scale // 10 ** len(fraction)
        end = part.end()
    if not rest or end != len(rest):
        raise ParseError("not a duration; write a number with a unit, such as 30s, 5m or 1h30m")
    if total > _LONGEST:
        raise ParseError("the duration is longer than 292 years")
    return sign * total / 1e9
