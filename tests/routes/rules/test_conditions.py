from __future__ import annotations

import pytest

from pilotage.routes.rules import ARGUMENTS, SUBJECTS, Check, Pattern, RuleError, is_about_responses, parse_condition
from pilotage.routes.rules.globs import parse_glob

HASH = "$2y$05$" + "a" * 53


def test_or_binds_more_tightly_than_and() -> None:
    get, post, path = Check("method", value="GET"), Check("method", value="POST"), Check("header", "X")
    assert parse_condition("method get | method POST & header X") == ((get, post), (path,))
    assert parse_condition("method get |\nmethod post\nheader X &\n") == ((get, post), (path,))
    assert parse_condition(" \n ") == ()


def test_checks_and_patterns_can_be_inverted() -> None:
    assert parse_condition("!path /a") == ((Check("path", pattern=Pattern("exact", "/a"), negate=True),),)
    assert parse_condition("path !glob(/a*)") == (
        (Check("path", pattern=Pattern("glob", "/a*", parse_glob("/a*"), negate=True)),),
    )
    assert parse_condition("! method GET") == ((Check("method", value="GET", negate=True),),)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("remote 10.0.0.1", "10.0.0.1/32"),
        ("remote 10.0.0.1/8", "10.0.0.0/8"),
        ("remote 2001:db8::1", "2001:db8::1/128"),
        ("status 404", "404-404"),
        ("status 4xx", "400-499"),
        ("status 200-299", "200-299"),
        ("proto h2c", "h2c"),
        (f"basic_auth me {HASH}", HASH),
    ],
)
def test_values_have_one_form(text: str, value: str) -> None:
    ((check,),) = parse_condition(text)
    assert check.value == value


@pytest.mark.parametrize("text", ['glob("a|b")', "glob('a|b')", "glob(`a|b`)", "glob(a|b)", 'string("a|b")', '"a|b"'])
def test_quotes_around_a_pattern_are_optional(text: str) -> None:
    ((check,),) = parse_condition(f"host {text}")
    assert check.pattern is not None
    assert check.pattern.text == "a|b"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("pth /a", "'pth' is not a condition", "did you mean 'path'?"),
        ("path", "the condition path has 0 arguments", "write path pattern"),
        ("header", "the condition header has 0 arguments", "write header name [pattern]"),
        ("header X a b", "the condition header has 3 arguments", "write header name [pattern]"),
        ("header 'a b'", "'a b' is not a valid header name", ""),
        ("header Host a", "header Host is never present", "use the condition host"),
        ("path a", "the path 'a' does not begin with '/'", "write /path"),
        ("path globb(/a)", "'globb' is not a kind of pattern", "did you mean 'glob'?"),
        ("path regex([)", "regex([): the pattern ends too early", ""),
        ("method 'a b'", "'a b' is not a method", "write one such as GET"),
        ("proto h4", "'h4' is not a protocol", "write one of http, https, h1, h2, h2c, h3"),
        ("remote lan", "'lan' is not an address or network", "write one such as 10.0.0.0/8"),
        ("status 6xx", "'6xx' is not a status", "write 404, 400-499 or 4xx"),
        (
            "basic_auth me secret",
            "the password of basic_auth is not a bcrypt hash",
            "make one with 'htpasswd -nbB user password'",
        ),
        (
            f"basic_auth me $2y$13${'a' * 53}",
            "the bcrypt hash in basic_auth has a cost of 13, which is not allowed",
            "make one with a cost of 4 to 12, such as 'htpasswd -nbB -C 10 user password'",
        ),
        ("method GET |", "a condition is missing after '|'", ""),
    ],
)
def test_mistakes_are_reported(text: str, message: str, hint: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_condition(text)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_mistake_has_its_line_and_conditions_a_limit() -> None:
    with pytest.raises(RuleError) as caught:
        parse_condition("method GET &\nheader X\nnonsense")
    assert caught.value.line == 2
    with pytest.raises(RuleError, match="more than 200 checks"):
        parse_condition(" | ".join(["method GET"] * 201))


def test_conditions_about_responses_are_known() -> None:
    assert is_about_responses(parse_condition("method GET & status 404"))
    assert is_about_responses(parse_condition("resp_header X"))
    assert not is_about_responses(parse_condition("method GET"))
    assert tuple(ARGUMENTS) == SUBJECTS
