"""Suggests known names for misspelled ones. Pure.

Rule: decision 28.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["did_you_mean", "edit_distance", "nearest", "suggestion_in"]

_LONGEST: Final = 64  # characters; the time grows with the square of the length, and no known name is longer
_MOST_NAMES: Final = 500


def edit_distance(a: str, b: str, most: int | None = None) -> int:
    """Return the edit distance of two words; swapping two neighboring letters counts as one edit.

    Args:
        a: one word.
        b: the other word.
        most: stop at this distance and return ``most + 1`` for anything greater.

    """
    if most is not None and abs(len(a) - len(b)) > most:
        return most + 1
    start = _common(a, b)
    end = _common(a[start:][::-1], b[start:][::-1])
    a, b = a[start : len(a) - end], b[start : len(b) - end]
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, ca in enumerate(a, 1):
        before, row, last = row, [i], before
        for j, cb in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (ca != cb))
            if i > 1 and j > 1 and ca == b[j - 2] and a[i - 2] == cb:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if most is not None and min(row) > most and min(before) > most:
            return most + 1
    return row[-1]


def _common(a: str, b: str) -> int:
    """Return the length of the longest common prefix."""
    return next((at for at, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b)))


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return the candidate that ``word`` was most likely meant to be; ``""`` if none is close.

    A name is close if at most a third of the longer name's letters differ; one difference is always allowed. Case is
    ignored. Ties go to the first name in byte order, so the result is deterministic. Names of more than 64 characters
    are never close, and only the first 500 candidates are compared.
    """
    if len(word) > _LONGEST:
        return ""
    best: tuple[int, str] | None = None
    folded = word.casefold()
    letters = set(folded)
    for name in islice(candidates, _MOST_NAMES):
        if name == word or len(name) > _LONGEST:
            continue
        most = max(1, max(len(word), len(name)) // 3)
        if best is not None:
            most = min(most, best[0])
        known = name.casefold()
        if len(letters.difference(known)) > most or abs(len(folded) - len(known)) > most:
            continue  # each letter that the name lacks costs at least one edit
        distance = edit_distance(folded, known, most)
        if distance <= most and (best is None or (distance, name) < best):
            best = (distance, name)
    return best[1] if best else ""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return a question such as ``"did you mean 'scheme'?"``; ``""`` if no candidate is close."""
    name = nearest(word, candidates)
    return f"did you mean {name!r}?" if name else ""


_QUESTION: Final = re.compile(r"did you mean '([^']+)'\?")


def suggestion_in(hint: str) -> str:
    """Return the name that a hint from :func:`did_you_mean` suggests; ``""`` if the hint says anything else."""
    found = _QUESTION.fullmatch(hint)
    return found[1] if found is not None else ""
