"""Read single field values, and what is reported about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pilotage.core.secrets import EVERYTHING
from pilotage.core.yaml import Located, parse_yaml
from pilotage.routes.fields import FieldContext
from tests.support.style import assert_style

if TYPE_CHECKING:
    from pilotage.routes.fields import Kind

__all__ = ["read", "read_yaml", "reported"]


def read(kind: Kind, text: Any) -> tuple[Any, FieldContext]:
    context = FieldContext(visible=EVERYTHING, path="field")
    return kind.read(Located(text, "label"), context), context


def read_yaml(kind: Kind, text: str) -> tuple[Any, FieldContext]:
    context = FieldContext(visible=EVERYTHING, path="field")
    document = parse_yaml(text, "label")
    assert document is not None
    return kind.read(document, context), context


def reported(context: FieldContext) -> list[tuple[str, str, str]]:
    for problem in context.problems:
        assert_style(problem)
    return [(problem.path, problem.message, problem.hint) for problem in context.problems]
