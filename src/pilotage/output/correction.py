"""Derives the label to write instead of a wrong one, from the problem with it and its text. Pure.

A problem with a suggestion (``did you mean 'scheme'?``, ``write proxy.exclude``) names a place. The word at that place
is replaced, whether it is part of the label's key, its whole value, or a word in its YAML.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.secrets import SHOWN, redact
from pilotage.core.suggest import nearest, suggestion_in
from pilotage.core.values import ParseError
from pilotage.core.yaml import bare, parse_yaml
from pilotage.labels.keys import CONTAINER_OPTIONS, is_own, split_key
from pilotage.routes.schema import ROUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.core.problems import Problem

__all__ = ["LabelCorrection", "correction_of"]

_LONGEST: Final = 10_000  # characters of a label; longer ones are not shown
_WRITE: Final = re.compile(r"write (proxy\.[\w.*#-]+)")
_WORD: Final = re.compile(r"[\"']?([^\s:\"',\[\]{}]+)")


class LabelCorrection(msgspec.Struct, frozen=True):
    """The label to write instead of a wrong one.

    Attributes:
        label: key of the label.
        value: its value; null if the value contains secrets, and stays as it is apart from the word that is wrong.
        line: the label as a line of a Compose file; empty if the value is null.

    """

    label: str
    value: str | None
    line: str


def correction_of(problem: Problem, labels: Mapping[str, str]) -> LabelCorrection | None:
    """Return the label to write instead of the wrong one; ``None`` if that is not known.

    Args:
        problem: a problem with a label.
        labels: all labels of the container, key -> text.

    """
    text = labels.get(problem.label)
    if text is None or len(text) > _LONGEST:
        return None
    found = _corrected(problem, text)
    if found is None:
        return None
    key, value = found
    if _holds_secret(key, value):
        return LabelCorrection(key, None, "")
    quoted = msgspec.json.encode(value.replace("$", "$$")).decode()  # Compose would replace variables
    return LabelCorrection(key, value, f"{key}: {quoted}")


def _corrected(problem: Problem, text: str) -> tuple[str, str] | None:
    """Return the key and the text of the corrected label."""
    key, word = problem.label, suggestion_in(problem.hint)
    instead = _WRITE.fullmatch(problem.hint)
    if instead is not None:
        return instead[1], text
    if not word:
        return None
    if is_own(word):
        return word, text
    if problem.line:
        replaced = _replaced(text, problem.line, problem.column, word)
        return None if replaced is None else (key, replaced)
    before, _, last = key.rpartition(".")
    if _is_meant(last, word) and problem.path.endswith(last):
        return f"{before}.{word}", text
    return (key, word) if _is_meant(text.strip(), word) else None


def _replaced(text: str, line: int, column: int, word: str) -> str | None:
    """Replace the word at a position (from 1) of a text; return ``None`` if another word than expected is there."""
    lines = text.split("\n")
    if line > len(lines):
        return None
    at = lines[line - 1]
    found = _WORD.match(at, column - 1)
    if found is None or not _is_meant(found[1], word):
        return None
    lines[line - 1] = at[: found.start(1)] + word + at[found.end(1) :]
    return "\n".join(lines)


def _is_meant(written: str, word: str) -> bool:
    return nearest(written, (word,)) == word


def _holds_secret(key: str, text: str) -> bool:
    """Return whether the text of a label contains anything that may not be shown."""
    _, _, option = key.partition(".")
    visible = SHOWN if option in CONTAINER_OPTIONS else ROUTE.visible.at(split_key(key)[1])
    if redact(text, visible) == text:
        return False
    try:
        document = parse_yaml(text, key)
    except ParseError:
        return True
    plain = bare(document) if document is not None else None
    return not isinstance(plain, dict | list) or redact(plain, visible) != plain
