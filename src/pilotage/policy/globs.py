"""Matches names, hosts and folders against the globs of an operator's rules. Pure.

In every glob, ``*`` stands for any text and ``?`` for one character. In a host, ``*`` and ``?`` do not match dots, and
the label ``**`` stands for one or more labels. In a path, ``*`` and ``?`` do not match slashes.

``{{engine}}``, ``{{project}}`` and ``{{service}}`` in a glob stand for the claimant's engine, project and service.
These values are chosen by whoever creates the container, so they are inserted as text, never as a pattern. A value that
is empty or not a single plain word (letters, digits, ``_`` and ``-``; in an engine's name also dots) makes the glob
match nothing.
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["PLACEHOLDERS", "common_path", "fill", "matches_host", "matches_path", "matches_text", "placeholders"]

PLACEHOLDERS: Final = ("engine", "project", "service")
"""Names that may appear in ``{{…}}``."""

_PLACEHOLDER: Final = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_WORD: Final = re.compile(r"[A-Za-z0-9_-]+")
_ENGINE: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_LONGEST: Final = 4096  # characters; a longer value matches no glob


@lru_cache(maxsize=512)
def _compiled(glob: str) -> Callable[[str], object]:
    # "[" has no special meaning in these globs. The regular expressions from fnmatch take linear time for each star.
    return re.compile(fnmatch.translate(glob.replace("[", "[[]"))).match


def placeholders(glob: str) -> list[str]:
    """Return the names of all placeholders ``{{…}}`` in a glob, known or unknown."""
    return _PLACEHOLDER.findall(glob)


def fill(glob: str, values: Mapping[str, str]) -> str | None:
    """Return a glob with its placeholders replaced; ``None`` (no match) if a value is missing or unusable.

    Args:
        glob: a glob with placeholders, ``{{…}}``.
        values: the values of :data:`PLACEHOLDERS`.

    """
    if "{{" not in glob:
        return glob
    for name in placeholders(glob):
        if not (_ENGINE if name == "engine" else _WORD).fullmatch(values.get(name, "")):
            return None
    return _PLACEHOLDER.sub(lambda match: values[match[1]], glob)


def matches_text(glob: str, text: str) -> bool:
    """Return whether a glob matches a whole text. Matching is case-sensitive."""
    return len(text) <= _LONGEST and _compiled(glob)(text) is not None


def matches_host(glob: str, host: str) -> bool:
    """Return whether a glob matches a host name. Case is ignored.

    A wildcard such as ``*.example.com`` claims every name directly below ``example.com``, so only a glob that has ``*``
    or ``**`` in the same place matches it.
    """
    return _match_labels(glob.lower().split("."), host.lower().split("."))


def _match_labels(globs: Sequence[str], labels: Sequence[str]) -> bool:
    if len(labels) > 128:  # a host name of 253 characters has at most 127 labels
        return False
    reached = {0}  # the numbers of labels that the globs so far can match
    for glob in globs:
        if glob == "**":
            reached = set(range(min(reached) + 1, len(labels) + 1)) if reached else reached
        else:
            reached = {n + 1 for n in reached if n < len(labels) and _matches_label(glob, labels[n])}
    return len(labels) in reached


def _matches_label(glob: str, label: str) -> bool:
    return glob == "*" if "*" in label else label != "" and matches_text(glob, label)


def matches_path(glob: str, path: str) -> bool:
    """Return whether an absolute path without ``..`` matches a glob, or lies below a path that does."""
    wanted = [part for part in glob.split("/") if part]
    parts = [part for part in path.split("/") if part]
    if not glob.startswith("/") or len(parts) < len(wanted) or ".." in parts:
        return False
    return all(map(matches_text, wanted, parts))


def common_path(one: str, other: str) -> str | None:
    """Return a glob for the paths that lie below both of two paths or globs; ``None`` if there are no such paths.

    The result is also ``None`` if both have different globs for the same part, such as ``a*`` and ``*b``.
    """
    first, second = ([part for part in path.split("/") if part] for path in (one, other))
    shared = []
    for a, b in zip(first, second, strict=False):
        if a == b or _stands_for(a, b):
            shared.append(b)
        elif _stands_for(b, a):
            shared.append(a)
        else:
            return None
    longer = max(first, second, key=len)
    return "/" + "/".join([*shared, *longer[len(shared) :]])


def _stands_for(glob: str, part: str) -> bool:
    return glob == "*" or (not set("*?") & set(part) and matches_text(glob, part))
