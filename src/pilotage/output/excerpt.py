"""Cuts the line with a problem out of a file, with the position of the problem in it. Pure.

An excerpt shows names, small numbers, booleans and the words that the problem's message contains. All other words
become ``…``, because any of them may be a secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
from rich.cells import cell_len

from pilotage.core.secrets import clean_value, shown_name
from pilotage.core.text import escape

if TYPE_CHECKING:
    from pilotage.core.problems import Problem

__all__ = ["Excerpt", "excerpt_of", "fit_excerpt"]

_LONGEST: Final = 2_000  # characters of a line; longer lines are cut around the problem
_CUT: Final = "…"
_PART: Final = re.compile(r"""[^\s"'{}\[\],:=]+|\s+|.""")
_KEY_END: Final = re.compile(r"""["']?:(?:\s|$)""")
_PLAIN: Final = re.compile(r"[0-9]{1,5}|true|false|null|\W{1,3}", re.IGNORECASE)


class Excerpt(msgspec.Struct, frozen=True):
    """The line with a problem.

    Attributes:
        text: the line without surrounding white space, safe to print.
        start: index of the first character of the problem; the length of the text if the problem is at its end.
        length: number of characters of the problem, at least 1.

    """

    text: str
    start: int
    length: int


def excerpt_of(line: str, problem: Problem) -> Excerpt | None:
    """Return the excerpt for a problem, given the line of the file; ``None`` if the line is empty."""
    lead = len(line) - len(line.lstrip())
    # The parser counts a leading tab as two columns.
    line = line[:lead].replace("\t", "  ") + line[lead:]
    column = min(max(problem.column - 1, 0), len(line))
    first = max(0, column - _LONGEST // 2)
    line, column = line[first : first + _LONGEST], column - first
    body = line.strip()
    if not body:
        return None
    column = min(max(column - (len(line) - len(line.lstrip())), 0), len(body))
    end = _end(body, column) if problem.column else len(body)
    kept, said = set(_words(clean_value(body))), {word.strip(".;?!()") for word in _words(str(problem))}
    shown = ""
    start = stop = None
    for match in _PART.finditer(body):
        word = match.group()
        is_key = bool(_KEY_END.match(body, match.end())) and shown_name(word) == word
        is_shown = word.isspace() or (word in kept and (word in said or is_key or bool(_PLAIN.fullmatch(word))))
        if start is None and match.end() > column:
            offset = len(escape(word[: max(column - match.start(), 0)])) if is_shown else 0
            start = len(shown) + offset
        if not is_shown and shown.rstrip().endswith(_CUT) and (start is None or start < len(shown)):
            shown = shown.rstrip()
        else:
            shown += escape(word) if is_shown else _CUT
        if stop is None and match.end() >= end:
            stop = len(shown)
    start = len(shown) if start is None else start
    return Excerpt(shown, start, max((stop or len(shown)) - start, 1))


def _words(text: str) -> list[str]:
    return _PART.findall(text)


def _end(body: str, column: int) -> int:
    """Return the end of the word or the quoted text at a column."""
    if body[column : column + 1] in ('"', "'") and (close := body.find(body[column], column + 1)) > 0:
        return close + 1
    match = _PART.match(body, column)
    return match.end() if match else column + 1


def fit_excerpt(excerpt: Excerpt, width: int) -> Excerpt:
    """Cut an excerpt to the cells of a terminal, so that the beginning of the problem stays visible.

    Args:
        excerpt: the excerpt.
        width: number of cells; 0 for no limit.

    """
    text = excerpt.text
    if not width or cell_len(text) < width:  # one more cell for a problem at the end
        return excerpt
    first = last = min(excerpt.start, len(text) - 1)
    wanted = min(excerpt.start + excerpt.length, len(text))
    room = width - 3  # a mark on each side, and a problem at the end
    while last < wanted and cell_len(text[first : last + 1]) <= room:
        last += 1
    while first and cell_len(text[first - 1 : last]) <= room:
        first -= 1
    while last < len(text) and cell_len(text[first : last + 1]) <= room:
        last += 1
    before, after = _CUT if first else "", _CUT if last < len(text) else ""
    start = excerpt.start - first + len(before)
    length = min(excerpt.length, max(last - excerpt.start, 1))
    return Excerpt(f"{before}{text[first:last]}{after}", start, length)
