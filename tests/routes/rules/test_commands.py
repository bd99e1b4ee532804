from __future__ import annotations

import pytest

from pilotage.routes.rules import COMMANDS, Command, RuleError, ends
from pilotage.routes.rules.commands import check_command, option_arguments

VALID = [
    *["pass", "bypass", "upstream", "require_auth", "rewrite /a /b", "serve /srv", "serve_file /f", "handle api"],
    *[
        "proxy http://app:80",
        "proxy /x",
        "route app",
        "redirect /login",
        "redirect https://a.example/x",
        "error 404 no",
    ],
    *["require_basic_auth realm", "set header X y", "add query a b", "remove cookie c", "set body x", "set status 404"],
    *["set resp_body x", "log info /dev/stdout x", "notify warn ntfy title body", "remove resp_header X"],
]


@pytest.mark.parametrize("text", VALID)
def test_valid_commands_are_kept_with_their_line(text: str) -> None:
    name, *args = text.split(" ")
    assert check_command(name, args, 7) == Command(name, tuple(args), 7)


def test_all_commands_are_tried_and_some_end_the_rules() -> None:
    assert {text.split(" ")[0] for text in VALID} == set(COMMANDS)
    assert ends(Command("pass"))
    assert not ends(Command("set"))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("redirct /a", "'redirct' is not a command", "did you mean 'redirect'?"),
        ("pass x", "the command pass has 1 arguments", "write pass; use quotes for spaces"),
        ("error 404 not found", "the command error has 3 arguments", "write error code text; use quotes for spaces"),
        ("error 99 x", "'99' is not a status", "write one from 200 to 599"),
        ("rewrite a /b", "the path 'a' does not begin with '/'", "write rewrite /from /to"),
        (
            "redirect login",
            "'login' is neither a path nor a URL",
            "write a path such as /login, or a URL such as https://example.com",
        ),
        (
            "proxy http://a:b",
            "'http://a:b' is not a URL",
            "write a path such as /login, or a URL such as https://example.com",
        ),
        (
            "redirect /ü",
            "the URL of redirect has characters that must be percent-encoded",
            "write a path such as /login, or a URL such as https://example.com",
        ),
        ("set heeader X y", "set cannot change 'heeader'", "did you mean 'header'?"),
        ("set header X", "the command set has 2 arguments", "write set target field value; use quotes for spaces"),
        ("set header X: y", "'X:' is not a valid header name", ""),
        ("add body x", "add cannot change body", "write set body VALUE"),
        ("set status 42", "'42' is not a status", "write one from 200 to 599"),
        ("log inof /dev/stdout x", "'inof' is not a level", "did you mean 'info'?"),
        ("route ", "the argument of route is empty", ""),
    ],
)
def test_mistakes_are_reported(text: str, message: str, hint: str) -> None:
    name, *args = text.split(" ")
    with pytest.raises(RuleError) as caught:
        check_command(name, args, 3)
    assert (caught.value.message, caught.value.hint, caught.value.line) == (message, hint, 3)


def test_arguments_have_a_limit() -> None:
    with pytest.raises(RuleError, match="more than 4,000 bytes"):
        check_command("error", ["404", "ä" * 2001], 1)


def test_options_are_arguments_with_names() -> None:
    assert option_arguments("rewrite", {"to": "/b", "from": "/a"}) == ["/a", "/b"]
    assert option_arguments("set", {"target": "body", "value": "x"}) == ["body", "x"]
    with pytest.raises(RuleError, match="the command rewrite has no option 'form'") as caught:
        option_arguments("rewrite", {"form": "/a"})
    assert caught.value.hint == "did you mean 'from'?"
    with pytest.raises(RuleError, match="the command rewrite needs the option to"):
        option_arguments("rewrite", {"from": "/a"})
