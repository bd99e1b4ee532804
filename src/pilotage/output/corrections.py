"""Derives the label to write instead of a wrong one, from the problem with it and its text. Pure.

A problem with a suggestion (``did you mean 'scheme'?``, ``write proxy.exclude``) names a place. The word at that place
is replaced, whether it is part of the label's key, its whole value, or a word in its YAML. If the text of the label is
not at hand, the problem alone says which field to write.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.secrets import SHOWN, redact
from pilotage.core.suggest import nearest, suggestion_in
from pilotage.core.values import ParseError
from pilotage.core.yaml import bare, parse_yaml
from pilotage.labels.key_schema import fold
from pilotage.labels.keys import CONTAINER_OPTIONS, is_own, split_key
from pilotage.routes.schema import ROUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.core.problems import Problem

__all__ = ["LabelCorrection", "corrected_label", "correction_of"]

_LONGEST: Final = 10_000  # characters of a label; longer ones are not shown
_WRITE: Final = re.compile(r"write (proxy\.[\w.*#-]+)")
_SUGGESTION: Final = re.compile(r"did you mean '([^'\s]+)'\?")
_LABEL: Final = re.compile(r"write (proxy\.[\w.*#-]*\w)(?=$|[ ;,])")
_WORD: Final = re.compile(r"[\"']?([^\s:\"',\[\]{}]+)")


class LabelCorrection(msgspec.Struct, frozen=True):
    """The label to write instead of a wrong one.

    Attributes:
        label: key of the label.
        value: value of the label; null if the value does not change and cannot be shown, because it may be secret or is
            unknown.
        line: the label as a line of a Compose file; empty if the value is null.

    """

    label: str
    value: str | None
    line: str


def correction_of(problem: Problem, labels: Mapping[str, str] = MappingProxyType({})) -> LabelCorrection | None:
    """Return the label to write instead of the wrong one; ``None`` if that is not known.

    Args:
        problem: a problem with a label.
        labels: all labels of the container, key -> text; empty if they are not at hand.

    """
    text = labels.get(problem.label)
    if text is None or len(text) > _LONGEST:
        field = corrected_label(problem)
        return None if field is None else LabelCorrection(field[0], field[1] or None, _line(*field))
    found = _corrected(problem, text)
    if found is None:
        return None
    key, value = found
    if _holds_secret(key, value):
        return LabelCorrection(key, None, "")
    return LabelCorrection(key, value, _line(key, value) or f'{key}: ""')


def _line(key: str, value: str) -> str:
    """Return a label as a line of a Compose file, in which a dollar sign begins a variable; ``""`` without a value."""
    return f"{key}: {msgspec.json.encode(value.replace('$', '$$')).decode()}" if value else ""


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
    if (renamed := _renamed(key, problem.path, word)) and _is_meant(problem.path.rpartition(".")[2], word):
        return renamed, text
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


def corrected_label(problem: Problem) -> tuple[str, str] | None:
    """Return key and value of the label to write; ``None`` if the problem suggests none.

    The value is ``""`` if only the key is wrong. Then the value stays as it is; it may be a secret, so it is unknown
    here. A field in the YAML of a longer label is returned as a label of its own, which takes precedence.
    """
    if not problem.label.startswith("proxy."):
        return None
    if found := _LABEL.search(problem.hint):
        return found[1], ""
    suggestion = _SUGGESTION.search(problem.hint)
    if suggestion is None or "[" in problem.path:
        return None
    key = _joined(problem.label, problem.path)
    if problem.message.startswith("unknown "):
        before, _, _ = key.rpartition(".")
        return _renamed(problem.label, problem.path, suggestion[1]) or f"{before}.{suggestion[1]}", ""
    return key, suggestion[1]


def _renamed(key: str, path: str, word: str) -> str:
    """Replace the name at the end of a path, inside a label's key; return ``""`` if the path is not in the key."""
    parts, inner = key.split("."), [fold(part) for part in path.split(".")]
    for start in range(2, len(parts) - len(inner) + 1):
        end = start + len(inner)
        if [fold(part) for part in parts[start:end]] == inner:
            return ".".join((*parts[: end - 1], word, *parts[end:]))
    return ""


def _joined(label: str, path: str) -> str:
    """Return the key of the field at a path: ``proxy.app`` and ``healthcheck.path`` give both, one after the other.

    The end of the label may already be the beginning of the path.
    """
    parts, inner = label.split("."), path.split(".") if path else []
    for common in range(min(len(parts), len(inner)), 0, -1):
        if [fold(part) for part in parts[-common:]] == [fold(part) for part in inner[:common]]:
            inner = inner[common:]
            break
    return ".".join((*parts, *inner))
