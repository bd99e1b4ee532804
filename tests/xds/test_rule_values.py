from __future__ import annotations

import pytest

from pilotage.xds.rule_values import is_for_script, script_parts
from pilotage.xds.variables import MAX_VARIABLES, Upstream, VariableError

UPSTREAM = Upstream("app", "http", "10.0.0.1", "80", "10.0.0.1:80")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("plain $5 $$req_host", ["=plain $5 $req_host"]),
        ("$req_method $upstream_addr!", ["$req_method\t\t", "= 10.0.0.1:80!"]),
        ("a(${x})", ["=a(${x})"]),
        ("$header(X-A)$header( X-A , 2 )", ["$header\tX-A\t0", "$header\tX-A\t2"]),
        ('$cookie("sid") $arg(q)', ["$cookie\tsid\t0", "= ", "$arg\tq\t0"]),
        ("$redacted($cookie(sid, 1))x", ["*cookie\tsid\t1", "=x"]),
        ("$redacted($req_query)", ["*req_query\t\t"]),
        ("$redacted(0123456789) $redacted('short')", ["=01******89 ********"]),
        ("$redacted($upstream_addr)", ["=10*******80"]),
        ("$req_host(x)", ["$req_host\t\t", "=(x)"]),
    ],
)
def test_values_become_parts(text: str, parts: list[str]) -> None:
    assert script_parts(text, UPSTREAM) == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$nope", "unknown variable $nope"),
        ("$header", "$header needs a name in parentheses"),
        ("$header(a b)", "$header needs a name in parentheses"),
        ("$header(a", "the parenthesis after $header is not closed"),
        ("$form(a)", "$form has no value"),
        ("$resp_header(a)", "$resp_header has no value before there is a response"),
        ("$redacted($redacted($req_host))", "$redacted needs a value in parentheses"),
        ("$redacted($req_host x)", "$redacted takes a single variable"),
        ("$req_host" * (MAX_VARIABLES + 1), f"a value has more than {MAX_VARIABLES} variables"),
    ],
)
def test_invalid_values_are_refused(text: str, message: str) -> None:
    with pytest.raises(VariableError) as caught:
        script_parts(text)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_only_values_that_envoy_cannot_work_out_need_the_script() -> None:
    assert [text for text in ("$header(A)", "$arg(a)", "$$cookie(a)", "$req_path", "x") if is_for_script(text)] == []
    needed = ("$cookie(a)", "$redacted(x)", "$header(A, 1)", "$$$cookie(a)", "$arg('a')")
    assert all(map(is_for_script, needed))
    assert script_parts("$resp_header(A)", response=True) == ["$resp_header\tA\t0"]
