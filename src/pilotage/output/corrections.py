"""Works out the label to write instead of a wrong one, from the suggestion in a problem. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pilotage.labels.key_schema import fold

if TYPE_CHECKING:
    from pilotage.core.problems import Problem

__all__ = ["corrected_label"]

_SUGGESTION: Final = re.compile(r"did you mean '([^'\s]+)'\?")
_LABEL: Final = re.compile(r"write (proxy\.[\w.*#-]*\w)(?=$|[ ;,])")


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
        return f"{before}.{suggestion[1]}", ""
    return key, suggestion[1]


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
