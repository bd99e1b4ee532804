"""What the commands of rules do to the requests of a case. That Envoy does the same: test_rule_routes."""

from __future__ import annotations

from pilotage.routes.rules import read_rules
from pilotage.xds.rule_outcomes import compile_rules
from pilotage.xds.rule_state import HeaderEdit, Outcome


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
