"""What the commands of rules do to the requests of a case. That Envoy does the same: test_rule_routes."""

from __future__ import annotations

import pytest

from pilotage.routes.rules import read_rules
from pilotage.xds.rule_outcomes import compile_rules
from pilotage.xds.rule_state import HeaderEdit, Outcome, ScriptEdit


def outcomes(text: str) -> list[Outcome]:
    compiled = compile_rules(read_rules(text), "app")
    assert compiled.refused is None
    return [case.outcome for case in compiled.cases]


def test_changes_to_a_header_are_combined() -> None:
    text = "{ add header A 1\n add header a 2\n set header B 1\n add header B 2\n set header C 1\n remove header C }"
    assert outcomes(text)[0].request == (
        HeaderEdit("a", ("1", "2"), keep=True),
        HeaderEdit("B", ("1", "2")),
        HeaderEdit("C"),
    )


def test_the_gateways_own_responses() -> None:
    login, secret, whole = outcomes(
        "method GET { redirect /login }\nmethod POST { require_basic_auth a }\n{ proxy /x }"
    )
    assert (login.status, login.headers) == (307, (("location", "/login"),))
    assert (secret.status, secret.headers) == (401, (("www-authenticate", 'Basic realm="a"'),))
    assert whole.path == "/x"


def test_a_header_is_changed_by_the_script_once_the_script_has_to() -> None:
    (found,) = outcomes("{ set header A 1\n add header A $cookie(c)\n add header a 3\n set header B 1 }")
    assert found.request == (HeaderEdit("B", ("1",)),)
    assert found.before == (
        ScriptEdit("set header", "A", "1"),
        ScriptEdit("add header", "A", "$cookie(c)"),
        ScriptEdit("add header", "a", "3"),
    )
    (found,) = outcomes("{ set resp_header A 1\n add resp_header A $resp_header(B, 1) }")
    assert found.response == (HeaderEdit("A", ("1",)),)  # Envoy does this first
    assert found.after == (ScriptEdit("add header", "A", "$resp_header(B, 1)"),)


def test_values_see_the_headers_that_earlier_commands_have_set() -> None:
    (found,) = outcomes("{ set header A 1\n remove header B\n set query q '$header(a) $header(B) $$header(A)' }")
    assert found.before == (ScriptEdit("set query", "q", "1  $$header(A)"),)


def test_lines_are_logged_whatever_ends_the_rules() -> None:
    line = ScriptEdit("log", "info stdout", "x")
    assert outcomes("{ pass\n log info /dev/stdout x }") == [Outcome(after=(line,))]
    found = outcomes("{ error 403 no }\nmethod GET { log INFO /dev/stdout x }")
    assert found[0] == Outcome(status=403, body="no\n", after=(line,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notify info ntfy title text", "the command notify needs a notification provider, which pilotage does not"),
        ("log info /var/log/x.log x", "log cannot write to '/var/log/x.log'"),
        ("log info /dev/stdout $nope", "unknown variable $nope"),
        ("set query a $status_code", "$status_code has no value before there is a response"),
        ("set body $postform(a)", "$postform has no value, because the body arrives later"),
        ("set header X $redacted()", "$redacted needs a value in parentheses"),
        ("proxy http://other/a?b", "the URL of proxy has an unsupported part or an invalid path"),
        ("proxy http://me:secret@other/", "the URL of proxy has an unsupported part or an invalid path"),
        ("proxy http://other/a/../b", "the URL of proxy has an unsupported part or an invalid path"),
        ("serve srv", "'srv' is not an absolute path that can be served"),
        ("serve_file /srv/.env", "'/srv/.env' is not an absolute path that can be served"),
        ("\n".join(f"set query a{number} x" for number in range(51)), "a request would run more than 50 commands"),
    ],
)
def test_what_cannot_be_run_is_refused(text: str, message: str) -> None:
    for rules in (f"{{\n{text}\n}}", f"{{ pass }}\nmethod GET {{\n{text}\n}}" if text.startswith("notify") else text):
        compiled = compile_rules(read_rules(rules if rules.startswith("{") else f"{{\n{rules}\n}}"), "app")
        assert compiled.refused is not None
        assert compiled.refused[0].startswith(message)


def test_requests_can_go_elsewhere() -> None:
    found = outcomes(
        "path /a { rewrite /a /b\n proxy https://other:8443/x }\npath /c { route Other }\n"
        "path /d { serve /srv/../www/ }\npath /e { rewrite /e /f\n serve_file /srv/a.html }"
    )
    assert [(it.elsewhere, it.rewrite, it.path) for it in found] == [
        (("proxy", "https://other:8443/x"), ("/a", "/b"), ""),
        (("route", "other"), None, ""),
        (("serve", "/www"), None, ""),
        (("serve_file", "/srv/a.html"), None, "/a.html"),
        (None, None, ""),
    ]
