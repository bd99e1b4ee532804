from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.core.suggest import did_you_mean, edit_distance, nearest, suggestion_in


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ("", "", 0),
        ("port", "port", 0),
        ("", "abc", 3),
        ("pot", "port", 1),
        ("sheme", "scheme", 1),
        ("prot", "port", 1),
        ("kitten", "sitting", 3),
        ("ca", "abc", 3),
    ],
)
def test_edit_distance_counts_a_swap_as_one(a: str, b: str, distance: int) -> None:
    assert edit_distance(a, b) == edit_distance(b, a) == distance


@settings(deadline=None)
@given(st.text("abc", max_size=7), st.text("abc", max_size=7), st.integers(min_value=0, max_value=7))
def test_a_limit_does_not_change_the_result(a: str, b: str, most: int) -> None:
    distance = edit_distance(a, b)
    limited = edit_distance(a, b, most)
    assert limited == distance if distance <= most else limited > most


@pytest.mark.parametrize(
    ("word", "candidates", "found"),
    [
        ("sheme", ["host", "port", "scheme"], "scheme"),
        ("SCHEMA", ["scheme"], "scheme"),
        ("pot", ["spot", "port"], "port"),
        ("pot", ["spot", "port", "pod"], "pod"),
        ("xyz", ["port"], ""),
        ("healthchek", ["healthcheck"], "healthcheck"),
        ("port", ["port"], ""),
        ("Port", ["port"], "port"),
        ("a", ["b"], "b"),
        ("word", [], ""),
    ],
)
def test_the_nearest_name_wins_and_ties_go_by_byte_order(word: str, candidates: list[str], found: str) -> None:
    assert nearest(word, candidates) == found
    assert nearest(word, reversed(candidates)) == found


def test_a_suggestion_is_a_question_or_nothing() -> None:
    assert did_you_mean("sheme", ["scheme"]) == "did you mean 'scheme'?"
    assert did_you_mean("xyz", ["scheme"]) == ""


def test_the_suggestion_can_be_read_from_the_hint() -> None:
    assert suggestion_in(did_you_mean("sheme", ["scheme"])) == "scheme"
    assert suggestion_in("write true or false") == ""
