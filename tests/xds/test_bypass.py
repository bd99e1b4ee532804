from __future__ import annotations

import re
from typing import Any

import pytest

from pilotage.routes.rules import RuleError
from pilotage.xds.bypass import MAX_BYPASSES, asks_address, bypass_ways, read_bypass
from pilotage.xds.middlewares import route_policy


@pytest.mark.parametrize(
    "value", [["path /a", "method GET"], "- path /a\n- method GET", "[path /a, method GET]"], ids=str
)
def test_conditions_are_a_list_in_any_form(value: Any) -> None:
    assert read_bypass(value) == read_bypass(["path /a", "method GET"])
    assert len(read_bypass(value)) == 2
    assert len(read_bypass("path /a & method GET")) == 1


@pytest.mark.parametrize(
    "value",
    [
        5,
        [5],
        {"user_agents": ["x"]},
        [""],
        ["#"],
        "- [",
        "pth /a",
        "path a",
        "status 200",
        "form a b",
        "basic_auth a b",
        [f"path /{number}" for number in range(51)],
    ],
    ids=str,
)
def test_what_envoy_cannot_test_is_an_error(value: Any) -> None:
    with pytest.raises(RuleError) as caught:
        read_bypass(value)
    assert caught.value.message


def test_several_bypasses_hold_in_the_ways_in_which_all_do() -> None:
    one, other = read_bypass(["path /a", "path /b"]), read_bypass(["method GET"])
    assert len(bypass_ways([one], "app")) == 2
    both = bypass_ways([one, other], "app")
    assert [len(tests) for tests in both] == [2, 2]
    assert bypass_ways([read_bypass("route app")], "app") == ((),)
    assert bypass_ways([read_bypass("route other")], "app") == ()
    assert bypass_ways([], "app") == ((),)
    many = read_bypass([f"path /{number}" for number in range(8)])
    with pytest.raises(RuleError):
        bypass_ways([many, read_bypass([f"method M{number}" for number in range(8)])], "app")


def test_only_conditions_about_addresses_need_the_address() -> None:
    assert asks_address([read_bypass("path /a"), read_bypass("method GET & remote 10.0.0.0/8")])
    assert not asks_address([read_bypass("path /a")])


def test_each_set_of_bypasses_has_a_policy_of_its_own() -> None:
    allow = {"allow": "10.0.0.0/8"}
    policy = route_policy(
        {
            "cidr_whitelist": {**allow, "bypass": "path /a"},
            "redirect_http": {"bypass": ["path /a"]},
            "rate_limit": {"average": 5, "bypass": ["path /b"]},
        }
    )
    assert policy.problems == ()
    assert (policy.allow, policy.redirect, policy.rate is not None) == (("10.0.0.0/8",), True, True)
    assert [(it.policy.allow, it.policy.redirect, it.policy.rate is not None) for it in policy.variants] == [
        ((), False, False),
        ((), False, True),
        (("10.0.0.0/8",), True, False),
    ]


@pytest.mark.parametrize(
    ("middlewares", "servable", "severity"),
    [
        ({"cidr_whitelist": {"allow": "10.0.0.0/8", "bypass": "pth /a"}}, False, "error"),
        ({"cidr_whitelist": {"allow": "10.0.0.0/8", "bypass": "status 200"}}, False, "error"),
        ({"redirect_http": {"bypass": "pth /a"}}, True, "warning"),
    ],
)
def test_a_bypass_that_cannot_be_applied_opens_nothing(middlewares: Any, servable: bool, severity: str) -> None:
    policy = route_policy(middlewares)
    (problem,) = policy.problems
    assert (policy.variants, policy.servable, problem.severity) == ((), servable, severity)
    assert problem.path.endswith(".bypass")
    assert problem.message.endswith("so the middleware applies to every request") is servable


def test_too_many_bypasses_close_the_route() -> None:
    names = ["redirect_http", "set_x_forwarded", "request", "response"]
    policy = route_policy({name: {"bypass": f"path /{number}"} for number, name in enumerate(names)})
    assert (policy.servable, len(policy.variants)) == (False, 0)
    assert f"more than {MAX_BYPASSES}" in policy.problems[0].message


@pytest.mark.parametrize("condition", ["!path glob(/admin/*)", "path !glob(/admin/*)", "method GET & !path /admin"])
@pytest.mark.parametrize(
    ("path", "exempt"),
    [("/shop", True), ("/shop?a;b", True), ("/admin/", False), ("/admin;a/", False), ("/admin%3Ba/", False)],
)
def test_a_negated_condition_never_holds_for_a_path_with_parameters(condition: str, path: str, exempt: bool) -> None:
    request = {":path": path, ":method": "GET"}
    (tests,) = bypass_ways([read_bypass(condition)], "app")
    results = [
        (request[it.header] == it.exact if it.exact else re.fullmatch(it.regex, request[it.header]) is not None)
        is wanted
        for it, wanted in tests
    ]
    assert all(results) is exempt


def test_conditions_that_exclude_no_path_have_no_further_tests() -> None:
    assert [len(it) for it in bypass_ways([read_bypass(["path /a", "!method GET"])], "app")] == [1, 1]
