from __future__ import annotations

import pytest

from pilotage.core.secrets import HEADER_NAMES, SHOWN, UNSEEN
from pilotage.routes.mappings import MAX_ELEMENTS
from pilotage.routes.middlewares import MIDDLEWARES, Middlewares, middleware_name
from tests.support.field_values import read, read_yaml, reported


@pytest.mark.parametrize("name", sorted(set(MIDDLEWARES.values())))
def test_a_middleware_is_known_in_any_spelling(name: str) -> None:
    assert middleware_name(name) == middleware_name(name.upper().replace("_", "")) == name
    assert middleware_name(name + "x") is None


def test_options_are_kept_as_they_are_written() -> None:
    found, context = read_yaml(Middlewares(), "Set_X_Forwarded:\nrequest: {set_headers: {X-A: '1'}}\n")
    assert found == {"Set_X_Forwarded": None, "request": {"set_headers": {"X-A": "1"}}}
    assert reported(context) == []


def test_text_is_read_as_yaml() -> None:
    found, context = read(Middlewares(), "cidr_whitelist:\n  allow: 10.0.0.0/8, fd00::/8\n")
    assert (found, reported(context)) == ({"cidr_whitelist": {"allow": "10.0.0.0/8, fd00::/8"}}, [])


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            "cidr_whitlist: {allow: 10.0.0.1}",
            [("field.cidr_whitlist", "unknown middleware", "did you mean 'cidr_whitelist'?")],
        ),
        (
            "my@file: {a: 1}",
            [("field.my@file", "a list of middlewares from a file has no options", "remove them")],
        ),
        (
            "my@docker: {}",
            [("field.my@docker", "middlewares come only from files", "write NAME@file")],
        ),
        ("{real_ip: , RealIP: }", [("field.RealIP", "RealIP and real_ip are the same middleware", "keep one")]),
        ("real_ip: 5", [("field.real_ip", "5 is not a mapping", "write lines such as 'name: value'")]),
        (
            "cidr_whitelist: {}",
            [("field.cidr_whitelist", "'allow' needs at least one network", "write allow: [10.0.0.0/8]")],
        ),
        (
            "cidr_whitelist: {allow: [10.0.0.0/8, 10.0.0.300]}",
            [("field.cidr_whitelist.allow", "'10.0.0.300' is not a network", "write one such as 10.0.0.0/8")],
        ),
        ("rate_limit: {average: 0}", [("field.rate_limit.average", "'0' is not a whole number of at least 1", "")]),
        ("rate_limit: {burst: x}", [("field.rate_limit.burst", "'x' is not a whole number of at least 1", "")]),
        (
            "rate_limit: {period: 10ms}",
            [("field.rate_limit.period", "the period is too short; it must be at least 1s", "")],
        ),
        (
            "rate_limit: {period: soon}",
            [("field.rate_limit.period", "not a duration; write a number with a unit, such as 30s, 5m or 1h30m", "")],
        ),
        ("5", [("field", "5 is not a mapping", "write lines such as 'name: value'")]),
    ],
)
def test_errors_in_middlewares_are_reported_with_their_place(text: str, faults: list[tuple[str, str, str]]) -> None:
    _, context = read_yaml(Middlewares(), text)
    assert reported(context) == faults


@pytest.mark.parametrize("text", ["unknown:\n  a: 1", "my@docker:\n  a: 1", "RealIP:\n  from: '::1'"])
def test_an_error_in_the_name_of_a_middleware_has_the_place_of_the_name(text: str) -> None:
    _, context = read_yaml(Middlewares(), f"real_ip:\n{text}")
    assert [(problem.line, problem.column) for problem in context.problems] == [(2, 1)]


def test_numbers_of_thousands_of_digits_are_reported() -> None:
    _, context = read_yaml(Middlewares(), f"rate_limit: {{average: '{'9' * 5000}'}}")
    assert [path for path, _, _ in reported(context)] == ["field.rate_limit.average"]


@pytest.mark.parametrize(
    "text", ["rate_limit: {average: 5, burst: '10', period: 1m}", "rate_limit: {period: null}", "rate_limit:"]
)
def test_good_rates_are_fine(text: str) -> None:
    assert reported(read_yaml(Middlewares(), text)[1]) == []


@pytest.mark.parametrize("allow", ["10.1.2.3/8", "[10.1.2.3/8, 'fd00::1/8']", "10.0.0.1"])
def test_a_network_may_be_named_by_any_of_its_addresses(allow: str) -> None:
    _, context = read_yaml(Middlewares(), f"cidr_whitelist: {{allow: {allow}}}")
    assert reported(context) == []


@pytest.mark.parametrize("name", ["average", "burst"])
@pytest.mark.parametrize(("number", "correct"), [("1", True), ("007", True), ("9" * 18, True), ("9" * 19, False)])
def test_rates_are_whole_numbers_of_at_most_18_digits(name: str, number: str, correct: bool) -> None:
    _, context = read_yaml(Middlewares(), f"rate_limit: {{{name}: '{number}', period: 1s}}")
    assert (reported(context) == []) is correct


def test_a_thousand_networks_may_be_listed() -> None:
    for number, faults in ((MAX_ELEMENTS, []), (MAX_ELEMENTS + 1, ["'allow' has more than 1,000 networks"])):
        networks = ", ".join(["10.0.0.0/8"] * number)
        for written in (f"[{networks}]", f'"{networks}"'):
            _, context = read_yaml(Middlewares(), f"cidr_whitelist: {{allow: {written}}}")
            assert [message for _, message, _ in reported(context)] == faults


@pytest.mark.parametrize(
    ("name", "shown", "headers"),
    [
        ("request", "add_prefix", "hide_headers"),
        ("response", "", "hide_headers"),
        ("oidc", "issuer_url scopes", ""),
        ("forward_auth", "route auth_endpoint", "headers"),
        ("crowdsec", "route port endpoint timeout log_only", ""),
        ("themed", "theme", ""),
        ("real_ip", "from recursive", "header"),
        ("cidr_whitelist", "allow status status_code message", ""),
        ("rate_limit", "average burst period", ""),
        ("redirect_http", "", ""),
        ("hcaptcha", "site_key session_expiry", ""),
    ],
)
def test_a_problem_may_show_an_option_that_holds_no_secret(name: str, shown: str, headers: str) -> None:
    for option in ("priority", *shown.split()):
        assert Middlewares.visible.at((name, option)) == SHOWN
    for option in headers.split():
        assert Middlewares.visible.at((name, option)) == HEADER_NAMES
    for option in ("client_secret", "xpriority"):
        assert Middlewares.visible.at((name, option)) == UNSEEN


@pytest.mark.parametrize("number", ["[1]", "{a: 1}", "''", "null"])
def test_a_rate_is_a_single_value(number: str) -> None:
    _, context = read_yaml(Middlewares(), f"rate_limit: {{average: {number}, period: 1s}}")
    assert "is not a whole number of at least 1" in str(reported(context))
