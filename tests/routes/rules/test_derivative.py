from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.routes.rules import Pattern, is_nullable, matches, parse_glob, parse_regex, remainder
from tests.support.steps import same_cost, steps_of

GLOBS = ["/a/*", "*b", "/{a,b}/?", "[!a]*", "/a", "*", "{a,ab}{b,}"]


@given(st.sampled_from(GLOBS), st.text(alphabet="/ab", max_size=3), st.text(alphabet="/ab", max_size=4))
def test_the_remainder_matches_what_completes_a_match(glob: str, before: str, after: str) -> None:
    node = parse_glob(glob)
    whole = matches(Pattern("glob", glob, node), before + after)
    assert matches(Pattern("glob", "", remainder(node, before)), after) == whole
    assert is_nullable(remainder(node, before)) == matches(Pattern("glob", glob, node), before)


def test_bounded_repetitions_count_down() -> None:
    rest = remainder(parse_regex("(ab){1,2}"), "ab")
    assert [matches(Pattern("glob", "", rest), text) for text in ("", "ab", "abab")] == [True, True, False]


def test_edges_and_remainders_that_are_too_large_are_refused() -> None:
    with pytest.raises(ValueError, match="at the ends"):
        remainder(parse_regex("^a"), "a")
    with pytest.raises(ValueError, match="too large"):
        remainder(parse_glob("*a" * 120), "a" * 300)


def test_the_cost_of_a_remainder_that_becomes_too_large_does_not_depend_on_the_text() -> None:
    glob = parse_glob(f"*{'c' * 300}")

    def refused(text: str) -> None:
        with pytest.raises(ValueError, match="too large"):
            remainder(glob, text)

    assert same_cost(steps_of(lambda: refused("b" * 4_000)), steps_of(lambda: refused("b" * 40_000)))
