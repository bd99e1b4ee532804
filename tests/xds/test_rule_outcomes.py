"""The cases that rules lead to. That they mean the same as the rules: test_rule_routes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pilotage.routes.rules import COMMANDS, SUBJECTS, Command, ends, read_rules
from pilotage.xds.rule_outcomes import Case, compile_rules, route_rules
from pilotage.xds.rule_state import HeaderEdit, Outcome
from pilotage.xds.rule_tests import Test
from tests.support.gateway import route
from tests.support.steps import steps_of

GET = Test(":method", exact="GET")
POST = Test(":method", exact="POST")


def cases(text: str) -> tuple[Case, ...]:
    compiled = compile_rules(read_rules(text), "app")
    assert compiled.refused is None
    return compiled.cases


def test_a_rule_that_ends_the_rules_is_one_case() -> None:
    assert cases("method GET { error 403 no }\nmethod POST { error 404 x }") == (
        Case(((GET, True),), Outcome(status=403, body="no\n")),
        Case(((POST, True),), Outcome(status=404, body="x\n")),
        Case((), Outcome()),
    )


def test_a_rule_that_does_not_end_the_rules_doubles_the_cases_after_it() -> None:
    edit = HeaderEdit("X", ("y",))
    assert [case.outcome for case in cases("method GET { set header X y }\nheader A { error 404 x }")] == [
        Outcome(status=404, body="x\n"),
        Outcome(request=(edit,)),
        Outcome(status=404, body="x\n"),
        Outcome(),
    ]


def test_the_default_rule_runs_if_no_other_matches() -> None:
    edit = HeaderEdit("X", ("y",))
    found = cases("default { set resp_header X y }\nmethod GET { pass }")
    assert found == (Case(((GET, True),), Outcome()), Case((), Outcome(response=(edit,))))


def test_headers_of_the_response_are_set_even_after_the_rules_have_ended() -> None:
    found = cases(
        "{ error 403 x\n set resp_header A b }\nmethod GET { set resp_header X y }\nmethod POST { set header C d }"
    )
    assert found == (
        Case(((GET, True),), Outcome(response=(HeaderEdit("X", ("y",)),), status=403, body="x\n")),
        Case((), Outcome(status=403, body="x\n")),
    )


def test_conditions_that_make_no_difference_are_left_out() -> None:
    assert cases("method GET { pass }") == (Case((), Outcome()),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ handle api }", "the command handle needs a part of GoDoxy that pilotage does not have (line 1"),
        ("{ route app }", "the command route app leads back to its own route"),
        ("\n".join(f"path /{n} {{ route r{n} }}" for n in range(21)), "the rules send requests to more than 20 other"),
        ("{ set query a b }\nquery a b { pass }\n{ error 403 x }", "a rule tests the query after an earlier command"),
        ("{ set cookie a b }\ncookie a b { pass }\n{ error 403 x }", "a rule tests the header cookie after an earlier"),
        ("{ set header Connection close }", "the gateway itself sets the header Connection"),
        ("{ set header X $nope }", "unknown variable $nope"),
        ("{ set header X $status_code }", "$status_code has no value before there is a response"),
        ("{ rewrite /a /b\n rewrite /b /c }", "a second rewrite of the same request is not supported"),
        (
            "\n".join(f"header A{n} {{ set header B{n} x }}" for n in range(10)),
            "the rules lead to more than 300 combinations of conditions",
        ),
        (
            "path regex([^a]{20}) & path regex([^b]{20}) { set header A x }\n"
            + "\n".join(f"path regex([^a]{{20}}{n}) {{ set header B{n} x }}" for n in range(6)),
            "together, the rules need too many patterns, or patterns that are too large",
        ),
        (
            "{ rewrite /a /b }\n" + "\n".join(f"path /b{n} & method GET & !method GET {{ pass }}" for n in range(199)),
            "the rules can combine in too many ways (line 41 of the rules)",
        ),
        (
            "\n".join(f"header A{n} {{ set header B{n} {'x' * 1000} }}" for n in range(8)),
            "together, the values in the rules are too long",
        ),
        (
            " & ".join(f"header X{n}" for n in range(30))
            + " { set header A x }\n"
            + "\n".join(f"header A{n} {{ set header B{n} x }}" for n in range(7)),
            "together, the rules need too many patterns, or patterns that are too large",
        ),
    ],
)
def test_what_cannot_be_applied_is_refused(text: str, message: str) -> None:
    compiled = compile_rules(read_rules(text), "app")
    assert compiled.refused is not None
    assert compiled.refused[0].startswith(message)
    assert compiled.cases == ()


def test_the_address_is_needed_only_if_it_is_tested() -> None:
    assert compile_rules(read_rules("remote ::1 { error 403 x }"), "app").address
    assert not route_rules(route("app", 80, rules="method GET { error 403 x }")).address
    assert route_rules(route("app", 80)).cases == ()


def test_the_page_about_rules_says_which_conditions_and_commands_work() -> None:
    page = Path("docs/reference/rules.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| `(.+?)` \| (?:(yes|no) \| )?(yes|no) \|$", page, re.MULTILINE)
    for example, last, works in rows:
        text = f"{{\n{example}\n}}" if last else f"{example} {{ error 403 x }}"
        compiled = compile_rules(read_rules(text), "app")
        found = "no" if compiled.refused else "yes"
        assert (example, found) == (example, works)
        if last:
            ((command,),) = [rule.body for rule in read_rules(text).rules]
            assert isinstance(command, Command)
            assert ends(command) is (last == "yes")
    words = {example.split(" ")[0] for example, *_ in rows}
    assert words == {*SUBJECTS, *COMMANDS}


def test_rules_cannot_keep_the_daemon_busy() -> None:
    doubling = [f"header A{n} {{ set header B{n} x }}" for n in range(8)]
    costly = [f"path glob(/*{'é?' * 15}) {{ set header X y }}"] * 100
    rules = read_rules("\n".join([*doubling, *costly]))
    compiled = compile_rules(rules, "app")
    assert steps_of(lambda: compile_rules(rules, "app")) < 5_000_000  # 300 times as many if each test were made anew
    assert compiled.refused is not None
    assert compiled.refused[0].startswith("the rules can combine in too many ways")


def test_more_rules_than_fit_on_the_stack_are_refused() -> None:
    rules = read_rules("\n".join(f"path /p{number} {{ set header X y }}" for number in range(200)))
    compiled = compile_rules(rules, "app")
    assert compiled.refused == ("too many rules apply one after another", "end rules with pass, or write fewer")
    assert compile_rules(read_rules("path /p { set header X y }"), "app").refused is None
