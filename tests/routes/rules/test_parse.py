from __future__ import annotations

import pytest

from pilotage.routes.rules import Branch, Check, Choice, Command, RuleError
from pilotage.routes.rules.parse import check_rules, is_block_syntax, parse_blocks, parse_rule

NESTED = """
# first
path /a { # why
  set header X outer
  method GET |
  method HEAD {
    set header X get
  } elif method POST {
    pass
  } else {
    error 405 "not here"
  }
  rewrite {
    from: /a
    to: "/b"
  }
}

{ log info /dev/stdout "$req_path {" }
default {
  pass
}
"""


def test_blocks_are_parsed_with_nested_blocks_options_and_comments() -> None:
    first, second, default = parse_blocks(NESTED).rules
    assert (first.line, first.header, second.header, default.is_default) == (3, "path /a", "", True)
    outer, choice, rewrite = first.body
    assert outer == Command("set", ("header", "X", "outer"), 4)
    assert rewrite == Command("rewrite", ("/a", "/b"), 13)
    assert isinstance(choice, Choice)
    get, head = Check("method", value="GET"), Check("method", value="HEAD")
    assert choice.branches[0] == Branch(((get, head),), (Command("set", ("header", "X", "get"), 7),))
    assert [branch.condition for branch in choice.branches[1:]] == [((Check("method", value="POST"),),), ()]
    assert second.body == (Command("log", ("info", "/dev/stdout", "$req_path {"), 19),)


def test_blocks_fit_on_one_line_and_a_command_may_have_the_name_of_a_condition() -> None:
    (rule,) = parse_blocks("path /a { method GET { pass } else { route other } }").rules
    (choice,) = rule.body
    assert isinstance(choice, Choice)
    assert choice.branches[1].body == (Command("route", ("other",), 1),)
    (rule,) = parse_blocks("{\nroute web {\n pass\n}\nroute {\n route: other\n}\n}").rules
    assert isinstance(rule.body[0], Choice)
    assert rule.body[1] == Command("route", ("other",), 5)


def test_items_of_a_list_are_rules() -> None:
    rule = parse_rule({"name": "a", "on": "path /x\nmethod GET", "do": "set header X y\npass"}, 2)
    assert (rule.name, rule.is_default, len(rule.condition), len(rule.body)) == ("a", False, 2, 2)
    for default in ({"name": "default", "do": "pass"}, {"on": "default", "do": "pass"}):
        assert parse_rule(default, 1).is_default
    assert parse_rule({"do": "pass"}, 1).condition == ()
    assert is_block_syntax("path /a { }")
    assert is_block_syntax("# - comment\n\n  // comment\npath /a { }")
    assert not is_block_syntax(" - do: pass")
    assert not is_block_syntax("# comment\n\n  # { }\r\n[{do: pass}]")


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("path /a", "a condition has no block", 1),
        ("}", "a '}' is unmatched", 1),
        ("{ pass }\n\nmethod GET {", "a '{' is not closed", 3),
        ("{\n pass x\n}", "the command pass has 1 arguments", 2),
        ("method GET &\nnonsense { pass }", "'nonsense' is not a condition", 2),
        ("{\n method GET {\n  pass\n } else pass\n}", "expected '{' after else", 4),
        ("{\n nonsense {\n pass\n}\n}", "'nonsense' is not a condition", 2),
        ("{\n rewrite x {\n from: a\n}\n}", "rewrite has both arguments and a block of options", 2),
        ("{\n rewrite {\n from: /a\n from: /b\n}\n}", "the option 'from' is set twice", 2),
        ("{\n rewrite {\n from\n}\n}", "expected an option", 2),
        ("{\n error 404 'x\n}", "a '{' is not closed", 1),
        ("default { pass }\ndefault { pass }", "there are several default rules", 2),
        ("default { }\n" + "{ }\n" * 200, "there are more than 200 rules", 201),
        ("x" * 16_385, "the rules have more than 16,384 characters", 0),
    ],
)
def test_mistakes_have_a_line(text: str, message: str, line: int) -> None:
    with pytest.raises(RuleError) as caught:
        parse_blocks(text)
    assert (caught.value.message, caught.value.line) == (message, line)


def test_blocks_are_nested_eight_deep_at_most() -> None:
    deep = "method GET {\n" * 8 + "pass\n" + "}\n" * 8
    assert parse_blocks(deep).rules
    with pytest.raises(RuleError, match="nested more than 8 deep"):
        parse_blocks(f"method GET {{\n{deep}}}")
    with pytest.raises(RuleError, match="more than 1,000 commands"):
        parse_blocks("{\n" + "pass\n" * 1001 + "}")


def test_a_rule_that_never_runs_is_an_error() -> None:
    dead = "path /a | path /b {\n error 404 x\n}\npath /b | path /a {\n pass\n}"
    with pytest.raises(RuleError, match="the rule never runs") as caught:
        parse_blocks(dead)
    assert caught.value.line == 4
    always = "path /a {\n method GET {\n pass\n} else {\n error 404 x\n}\n}\npath /a { pass }"
    with pytest.raises(RuleError, match="the rule never runs"):
        parse_blocks(always)
    assert len(parse_blocks(always.replace("else", "elif method POST")).rules) == 2
    assert len(check_rules(list(parse_blocks("status 404 { pass }\nstatus 404 { pass }").rules)).rules) == 2


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"on": 5, "do": "pass"}, "on of a rule is not text"),
        ({"on": "path /a", "do": ["pass"]}, "do of a rule is not text"),
        ({"on": "nonsense", "do": "pass"}, "'nonsense' is not a condition"),
    ],
)
def test_mistakes_in_a_list_are_reported(rule: dict[str, object], message: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(rule, 4)
    assert (caught.value.message, caught.value.line) == (message, 4)
