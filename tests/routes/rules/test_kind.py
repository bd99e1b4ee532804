from __future__ import annotations

import pytest

from pilotage.routes.fields import UNSET
from pilotage.routes.rules import Rules
from tests.support.field_values import read


@pytest.mark.parametrize(
    "text", ["default {\n  bypass\n}", "path /x {\n  if { y }\n}", "- name: a\n  on: x\n  do: y", ""]
)
def test_rules_are_kept_as_they_are_written(text: str) -> None:
    found, reading = read(Rules(), text)
    assert not reading.problems
    assert found == (UNSET if not text else text if "{" in text else [{"name": "a", "on": "x", "do": "y"}])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "'nonsense' is not a list of rules"),
        ("a { b", "'a { b' is not a list of rules"),
        ("} {", "'} {' is not a list of rules"),
        ("- a", "a rule is a mapping, not text"),
        ("- {name: a, dow: x}", "unknown field of a rule"),
        ("- {name: default, do: x}\n- {name: default, do: y}", "there is already a default rule"),
        ("- [", "not valid YAML: did not find expected node content"),
    ],
)
def test_text_that_is_not_rules_is_reported(text: str, message: str) -> None:
    found, reading = read(Rules(), text)
    assert found is UNSET
    assert [problem.message for problem in reading.problems] == [message]


def test_rules_may_have_different_names_and_one_of_them_is_the_default() -> None:
    text = "- {name: a, do: x}\n- {name: b, do: y}\n- {name: default, do: z}\n- {do: pass}"
    found, reading = read(Rules(), text)
    assert reading.problems == []
    assert [rule.get("name") for rule in found] == ["a", "b", "default", None]


def test_an_unknown_field_of_a_rule_is_reported_where_it_is_written() -> None:
    (problem,) = read(Rules(), "- {name: a, dow: x}")[1].problems
    assert (problem.line, problem.column, problem.hint) == (1, 13, "did you mean 'do'?")


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_rules_are_not_a_problem(nothing: str | None) -> None:
    found, reading = read(Rules(), nothing)
    assert (found, reading.problems) == (UNSET, [])


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("nonsense", "write 'condition { action }'"),
        (80, "write blocks in braces, or a list of rules with name, on and do"),
        ("- a", "write name, on and do"),
        ("- {name: default, do: x}\n- {name: default, do: y}", "keep one"),
    ],
)
def test_a_problem_with_rules_has_its_remedy(text: object, hint: str) -> None:
    (problem,) = read(Rules(), text)[1].problems
    assert problem.hint == hint


def test_rules_have_at_most_a_thousand_blocks() -> None:
    assert not read(Rules(), "a { b }\n" * 1000)[1].problems
    found, reading = read(Rules(), "a { b }\n" * 1001)
    assert found is UNSET
    assert [problem.message for problem in reading.problems] == ["the rules have more than 1,000 blocks"]
