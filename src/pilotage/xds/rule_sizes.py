"""Limits the memory and time that Envoy needs for the tests of a route's rules. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.xds.rule_tests import TestResult

__all__ = ["envoy_memory", "is_too_costly", "regex_size"]

_MOST: Final = 1_500
"""Maximum number of tests and cases. Envoy does the tests for each request, until it has found the case."""
_LARGEST: Final = 100_000
"""Maximum size of all regexes. Envoy compiles each of them: a step takes about 0.2 µs and 50 bytes."""
_PART: Final = re.compile(r"\(\?\w+\)|\(\?:|\(|\)|\||\[(?:\\.|[^\]\\])*\]|\{(\d+)(,?)(\d*)\}|\\x..|\\.|.", re.DOTALL)


def is_too_costly(cases: Iterable[Iterable[TestResult]]) -> bool:
    """Return whether the tests of all cases together exceed a route's limits. Stop counting once they do."""
    count = size = 0
    for tests in cases:
        count += 1
        for test, _ in tests:
            count += 1
            size += regex_size(test.regex)
        if count > _MOST or size > _LARGEST:
            return True
    return False


def envoy_memory(cases: Iterable[Iterable[TestResult]], texts: int) -> int:
    """Estimate how many bytes Envoy needs for the routes of cases.

    Args:
        cases: the tests of each case.
        texts: total number of characters that the cases write.

    """
    found = texts
    for tests in cases:
        found += _OF_CASE + sum(_OF_TEST + _OF_STEP * regex_size(test.regex) for test, _ in tests)
    return found * _COPIES


_OF_CASE, _OF_TEST, _OF_STEP = 4_096, 400, 50
_COPIES: Final = 2
"""Number of Envoy routes of a case: one for requests that are safe to repeat, and one for others."""


@lru_cache(maxsize=1024)
def regex_size(regex: str) -> int:
    """Estimate the number of steps in the compiled form of a regex, with its repetitions written out.

    Args:
        regex: as :mod:`pilotage.xds.rule_patterns` writes it.

    """
    groups = [0]
    last = 0  # size of what a repetition would repeat; the group's size includes it
    opened: list[int] = []
    for part in _PART.finditer(regex):
        text = part[0]
        if text.startswith("(?") and text != "(?:":
            continue
        if text in ("(?:", "("):
            opened.append(len(groups))
            groups.append(0)
            continue
        if text == ")":
            last = groups.pop()
        elif part[1] is not None:
            times = max(int(part[3] or part[1]), int(part[1]) + bool(part[2]), 1)
            last *= times - 1
        elif text[0] == "[":
            last = 1 + text.count("-")
        else:
            last = 1
        groups[-1] += last
    return sum(groups)
