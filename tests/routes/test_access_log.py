from __future__ import annotations

from typing import Any

from pilotage.core.secrets import EVERYTHING
from pilotage.core.yaml import parse_yaml
from pilotage.routes.access_log import AccessLog
from pilotage.routes.fields import FieldContext
from pilotage.routes.schema import (
    ROUTE,
)


def read(text: str) -> tuple[dict[str, Any], FieldContext]:
    document = parse_yaml(text, "proxy.web")
    assert document is not None
    context = FieldContext(visible=EVERYTHING)
    return ROUTE.read_fields(document.value, context), context


def reported(context: FieldContext) -> list[tuple[str, int, int, str, str]]:
    return [(p.path, p.line, p.column, p.message, p.hint) for p in context.problems]


def test_an_access_log_needs_a_destination() -> None:
    found, context = read("access_log: {format: json}")
    assert "access_log" not in found
    assert [message for *_, message, _ in reported(context)] == ["path or stdout is required"]


def test_an_access_log_names_its_retention_in_json() -> None:
    _, log = ROUTE.fields["access_log"].kind.dump("access_log", AccessLog(stdout=True))
    assert (log["retention"], log["format"]) == ({"days": 30}, "combined")
