"""How problems are written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pilotage.core.problems import Problem

__all__ = ["assert_style"]

_NAMES: Final = ("Windows ", "Docker ", "Podman ", "Envoy ", "HTTP", "IPv", "YAML", "TLS", "UDP", "TCP")


def assert_style(problem: Problem) -> None:
    """A message and a hint begin with a small letter, a quotation or a value, because both stand inside a line."""
    for text in (problem.message, problem.hint):
        assert not re.match("[A-Z][a-z]+ ", text) or text.startswith(_NAMES), text
