from __future__ import annotations

import pytest

from pilotage.routes.fields import UNSET
from pilotage.routes.rules import Rules, read_rules
from tests.support.field_values import read


@pytest.mark.parametrize(
    "text",
    ["default {\n  bypass\n}", "path /x {\n  method GET { pass }\n}", "- name: a\n  on: path /x\n  do: pass", ""],
)
def test_rules_are_kept_as_they_are_written(text: str) -> None:
    found, reading = read(Rules(), text)
    assert not reading.problems
    assert found == (UNSET if not text else text if "{" in text else [{"name": "a", "on": "path /x", "do": "pass"}])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "'nonsense' is not a list of rules"),
        ("a { b", "a '{' is not closed (line 1 of the rules)"),
        ("} {", "a '}' is unmatched (line 1 of the rules)"),
        ("- a", "a rule is a mapping, not text"),
        ("- {name: a, dow: x}", "unknown field of a rule"),
        ("- {name: default, do: pass}\n- {name: default, do: pass}", "there are several default rules"),
        ("- [", "not valid YAML: did not find expected node content"),
    ],
)
def test_text_that_is_not_rules_is_reported(text: str, message: str) -> None:
    found, reading = read(Rules(), text)
    assert found is UNSET
    assert [problem.message for problem in reading.problems] == [message]


def test_rules_may_have_different_names_and_one_of_them_is_the_default() -> None:
    items = (
        "{name: a, on: path /a, do: pass}",
        "{name: b, on: path /b, do: pass}",
        "{name: default, do: pass}",
        "{do: pass}",
    )
    text = "".join(f"- {item}\n" for item in items)
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
        ("nonsense", "write 'condition { command }'"),
        (80, "write blocks in braces, or a list of rules with name, on and do"),
        ("- a", "write name, on and do"),
        ("- {name: default, do: pass}\n- {name: default, do: pass}", "keep one"),
    ],
)
def test_a_problem_with_rules_has_its_remedy(text: object, hint: str) -> None:
    (problem,) = read(Rules(), text)[1].problems
    assert problem.hint == hint


def test_a_mistake_in_a_list_is_reported_where_the_rule_is() -> None:
    text = "- {on: path /a, do: pass}\n- {on: path /b, do: pas}"
    (problem,) = read(Rules(), text)[1].problems
    assert (problem.message, problem.hint, problem.line) == ("'pas' is not a command", "did you mean 'pass'?", 2)


def test_there_are_at_most_two_hundred_rules() -> None:
    many = "\n".join(f"- {{on: path /{number}, do: pass}}" for number in range(201))
    found, reading = read(Rules(), many)
    assert found is UNSET
    assert [problem.message for problem in reading.problems] == ["there are more than 200 rules"]


def test_the_rules_of_a_list_have_a_limited_length_together() -> None:
    many = "\n".join(f"- {{on: path /{number}, do: error 403 {'x' * 3000}}}" for number in range(6))
    found, reading = read(Rules(), many)
    assert found is UNSET
    assert [problem.message for problem in reading.problems] == ["the rules have more than 16,384 characters"]


def test_rules_are_read_again_from_the_settings() -> None:
    assert read_rules(None).rules == ()
    (rule,) = read_rules("path /a { pass }").rules
    (listed,) = read_rules([{"on": "path /a", "do": "pass"}]).rules
    assert (rule.condition, rule.header) == (listed.condition, listed.header)
