"""Read single field values, and what is reported about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pilotage.core.secrets import EVERYTHING
from pilotage.core.yaml import Located, parse_yaml
from pilotage.routes.fields import FieldContext
from pilotage.routes.schema import ROUTE
from tests.support.style import assert_style

if TYPE_CHECKING:
    from pilotage.routes.fields import Kind

__all__ = ["read", "read_route", "read_yaml", "reported", "reported_at"]


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


def read_route(text: str) -> tuple[dict[str, Any], FieldContext]:
    """Read the fields of a route from YAML."""
    document = parse_yaml(text, "proxy.web")
    assert document is not None
    context = FieldContext(visible=EVERYTHING)
    return ROUTE.read_fields(document.value, context), context


def reported_at(context: FieldContext) -> list[tuple[str, int, int, str, str]]:
    """Return path, line, column, message and hint of each problem."""
    return [(p.path, p.line, p.column, p.message, p.hint) for p in context.problems]
