from __future__ import annotations

import pytest

from pilotage.routes.rules import Pattern, matches, parse_glob, parse_regex
from tests.support.steps import steps_of


def test_exact_patterns_equal_and_negated_ones_differ() -> None:
    assert matches(Pattern("exact", "a"), "a")
    assert not matches(Pattern("exact", "a"), "ab")
    assert matches(Pattern("exact", "a", negate=True), "b")
    assert not matches(Pattern("glob", "*", parse_glob("*"), negate=True), "b")


@pytest.mark.parametrize(
    "pattern",
    [Pattern("regex", "", parse_regex("^(a+)+$")), Pattern("glob", "", parse_glob("*a" * 60 + "b"))],
    ids=["regex", "glob"],
)
def test_the_cost_of_a_pattern_grows_with_the_length_of_the_text(pattern: Pattern) -> None:
    once, twice = (steps_of(lambda text="a" * size + "c": matches(pattern, text)) for size in (200, 400))  # type: ignore[misc]
    assert not matches(pattern, "a" * 200 + "c")
    assert twice < 2.5 * once
