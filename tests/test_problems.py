from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.problems import Problem, count, did_you_mean, edit_distance, nearest, shorten


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(message="wrong"), "wrong"),
        (Problem(message="wrong", hint="mend it"), "wrong; mend it"),
        (Problem(message="wrong", file="p.yml", line=3, column=5, path="a.b"), "p.yml:3:5: a.b: wrong"),
        (Problem(message="wrong", file="p.yml"), "p.yml: wrong"),
        (Problem(message="wrong", provider="local", container="web"), "local/web: wrong"),
        (Problem(message="wrong", provider="local"), "local: wrong"),
        (Problem(message="wrong", container="web", label="proxy.web", path="x"), "web: proxy.web: x: wrong"),
        (
            Problem(message="wrong", container="web", label="proxy.web", path="x", line=2, column=4),
            "web: proxy.web: x (line 2, column 4): wrong",
        ),
        (Problem(message="wrong", label="proxy.web", line=2, column=4), "proxy.web: line 2, column 4: wrong"),
        (Problem(message="wrong", container="web", route="app"), "web: route app: wrong"),
        (Problem(message="wrong", container="web", route="web"), "web: wrong"),
    ],
)
def test_a_problem_reads_from_its_outermost_place_to_its_remedy(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_the_outer_place_is_filled_in_and_the_rest_is_kept() -> None:
    problem = Problem(message="wrong", label="proxy.a", container="web").at(provider="local", route="a")
    assert problem == Problem(message="wrong", label="proxy.a", container="web", provider="local", route="a")
    assert problem.at(container="") == Problem(message="wrong", label="proxy.a", provider="local", route="a")


@pytest.mark.parametrize(
    ("value", "short"),
    [
        ("plain", "plain"),
        (5, "5"),
        (None, "None"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202e", "?"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("\n" * 40, "\\n" * 29 + "\\…"),
    ],
)
def test_a_value_is_shown_as_one_short_printable_line(value: object, short: str) -> None:
    assert shorten(value) == short


@settings(deadline=None)
@given(st.text(), st.integers(min_value=1, max_value=80))
def test_no_value_is_shown_longer_than_allowed_or_with_control_characters(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short.isprintable()


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
def test_changed_letters_are_counted_and_a_swap_of_neighbours_is_one(a: str, b: str, distance: int) -> None:
    assert edit_distance(a, b) == edit_distance(b, a) == distance


@settings(deadline=None)
@given(st.text("abc", max_size=7), st.text("abc", max_size=7), st.integers(min_value=0, max_value=7))
def test_a_limit_only_shortens_the_way_to_the_same_answer(a: str, b: str, most: int) -> None:
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
def test_the_nearest_name_wins_and_byte_order_decides_between_equals(
    word: str, candidates: list[str], found: str
) -> None:
    assert nearest(word, candidates) == found
    assert nearest(word, reversed(candidates)) == found


def test_a_suggestion_is_a_question_or_nothing() -> None:
    assert did_you_mean("sheme", ["scheme"]) == "did you mean 'scheme'?"
    assert did_you_mean("xyz", ["scheme"]) == ""


def test_a_problem_shows_as_one_printable_line_whatever_labels_hold() -> None:
    problem = Problem(message="bad", label="proxy.\x1b[31m\n", container="a\u2028b", hint="write\tx")
    assert str(problem) == "a?b: proxy.\\x1b[31m\\n: bad; write\\tx"


@pytest.mark.parametrize(("number", "text"), [(0, "0 routes"), (1, "1 route"), (2, "2 routes")])
def test_numbers_go_with_their_noun(number: int, text: str) -> None:
    assert count(number, "route") == text
