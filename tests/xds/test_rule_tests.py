from __future__ import annotations

import pytest

from pilotage.routes.rules import RuleError, parse_condition
from pilotage.xds.rule_tests import (
    Changes,
    Test,
    all_of,
    needs_address,
    starts_with,
    ways,
)


def found(text: str, known: dict[Test, bool] | None = None, changes: Changes = Changes()) -> object:  # noqa: B008
    return ways(parse_condition(text), known or {}, "app", changes)


GET = Test(":method", exact="GET")
POST = Test(":method", exact="POST")
EXISTS = Test("x-a", nullable=True)


def test_conditions_become_alternatives_of_tests() -> None:
    assert found("") == ((),)
    assert found("method GET | method POST") == (((GET, True),), ((POST, True),))
    assert found("method GET & !method POST") == (((GET, True), (POST, False)),)
    assert found("method GET & !method GET") == ()
    assert found("route app & route glob(a*)") == ((),)
    assert found("route !app | proto h3") == ()
    assert found("header X-A") == (((EXISTS, True),),)


def test_what_is_known_is_not_tested_again() -> None:
    assert found("method GET & header X-A", {GET: True}) == (((EXISTS, True),),)
    assert found("method GET & header X-A", {GET: False}) == ()
    assert found("method GET | header X-A", {GET: True}) == ((),)


def test_an_inverted_pattern_needs_a_value_and_an_inverted_condition_does_not() -> None:
    (((there, one), (test, two)),) = found("header X-A !b")  # type: ignore[misc]
    assert (there, one, test.header, two) == (EXISTS, True, "x-a", False)  # type: ignore[has-type]
    assert len(found("!header X-A !b")) == 2  # type: ignore[arg-type]
    assert len(found("!header X-A glob(*)")) == 2  # type: ignore[arg-type]
    assert len(found("!header X-A b")) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["status 404", "resp_header A b"])
def test_what_envoy_cannot_test_is_refused(text: str) -> None:
    with pytest.raises(RuleError, match="GoDoxy feature that pilotage does not support"):
        found(text)


def test_changed_headers_are_refused_and_rewritten_paths_are_taken_into_account() -> None:
    with pytest.raises(RuleError, match="a rule tests the header x-a after an earlier command has changed it"):
        found("header X-A", changes=Changes(frozenset({"x-a"})))
    alternatives = found("path /z/b", changes=Changes(rewrite=("/a", "/z")))
    assert [tests[0] for tests in alternatives] == [(starts_with("/a"), True), (starts_with("/a"), False)]  # type: ignore[attr-defined]
    with pytest.raises(RuleError, match="after rewrite"):
        found("path regex(x|^/a)", changes=Changes(rewrite=("/a", "/z")))
    with pytest.raises(RuleError, match="too large"):
        found("path glob(/" + "é?" * 400 + ")")


def test_the_number_of_alternatives_is_limited() -> None:
    many = " & ".join(f"header A{n} | header B{n}" for n in range(7))
    with pytest.raises(RuleError, match="more than 100 combinations"):
        found(many)
    assert all_of([(GET, True)], [(GET, False)]) is None


def test_only_a_condition_about_networks_needs_the_address() -> None:
    assert needs_address(parse_condition("method GET & remote 10.0.0.0/8"))
    assert not needs_address(parse_condition("method GET"))
