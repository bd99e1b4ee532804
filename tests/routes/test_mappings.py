from __future__ import annotations

import pytest

from pilotage import build_routes
from pilotage.core.secrets import EVERYTHING
from pilotage.core.yaml import Located, parse_yaml
from pilotage.routes.fields import UNSET, Choice, FieldContext, Kind, Text
from pilotage.routes.mappings import FreeMapping, ListOf, StructKind
from pilotage.routes.schema import HealthCheck
from tests.support.summaries import container


def test_bad_elements_of_a_list_are_reported_with_their_place_and_dropped() -> None:
    context = FieldContext(visible=EVERYTHING, path="ssl_protocols")
    value = parse_yaml("- TLSv1.2\n- SSLv3\n- TLSv1.3\n", "proxy.web.ssl_protocols")
    assert value is not None
    assert ListOf(Choice(("TLSv1.2", "TLSv1.3"))).read(value, context) == ("TLSv1.2", "TLSv1.3")
    (problem,) = context.problems
    assert (problem.path, problem.line, problem.column, problem.value) == ("ssl_protocols[1]", 2, 3, "SSLv3")
    assert (context.path, problem.label) == ("ssl_protocols", "proxy.web.ssl_protocols")


@pytest.mark.parametrize("kind", [ListOf(Text()), FreeMapping()])
def test_yaml_errors_are_reported_with_their_place_in_the_label(kind: Kind) -> None:
    context = FieldContext(visible=EVERYTHING, path="field")
    kind.read(Located("- a\n- [\n", "label"), context)
    kind.read(Located("- a\n- [\n", "label", line=7, column=3), context)
    assert [(problem.line, problem.column) for problem in context.problems] == [(3, 1), (7, 3)]


def test_a_label_with_a_free_mapping_and_labels_below_it_are_merged() -> None:
    labels = {"proxy.web.load_balance.options": "a: 1\nb: 2", "proxy.web.load_balance.options.b": "3"}
    (route,) = build_routes(container(labels=labels)).routes
    assert route.settings.load_balance.options == {"a": 1, "b": "3"}


@pytest.mark.parametrize("text", ["80", "[a]"])
def test_anything_but_a_mapping_is_reported_as_none(text: str) -> None:
    context = FieldContext(visible=EVERYTHING, path="healthcheck")
    assert StructKind(HealthCheck).read(Located(text, "label"), context) is UNSET
    (problem,) = context.problems
    assert problem.message == f"'{text}' is not a mapping"
