from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.core.values import ParseError, comma_list, go_bool, parse_duration
from pilotage.core.yaml import bare, parse_yaml


def read(text: str) -> Any:
    marked = parse_yaml(text)
    return None if marked is None else bare(marked)


# ---- single values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_true_is_spelt_as_in_go(text: str) -> None:
    assert go_bool(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_false_is_spelt_as_in_go(text: str) -> None:
    assert go_bool(text) is False


@pytest.mark.parametrize("text", ["", "yes", "on", "tRuE", " true", "2", "no"])
def test_anything_else_is_not_a_boolean(text: str) -> None:
    assert go_bool(text) is None


@pytest.mark.parametrize(
    ("text", "pieces"),
    [("a b,,c\td", ["a", "b", "c", "d"]), ("", []), (" , ", []), ("a,a", ["a", "a"]), ("a\u2003b\nc", ["a", "b", "c"])],
)
def test_lists_split_on_commas_and_white_space_without_empty_items(text: str, pieces: list[str]) -> None:
    assert comma_list(text) == pieces


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("-5", -5),
        ("0", 0),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("5.s", 5),
        ("-1s", -1),
        ("+1s", 1),
        ("2d", 172_800),
        ("1w", 604_800),
        ("1M", 2_592_000),
        ("1m", 60),
        ("250ms", 0.25),
        ("1us", 1e-6),
        ("1µs", 1e-6),
        ("1μs", 1e-6),
        ("1ns", 1e-9),
    ],
)
def test_durations_are_parsed_to_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a duration"),
        ("-", "not a duration"),
        ("s", "not a duration"),
        ("1 s", "not a duration"),
        ("1.5", "not a duration"),
        ("1e3s", "unknown unit 'e'"),
        ("1S", "unknown unit 'S'"),
        ("1sx", "unknown unit 'sx'"),
        ("1s2", "not a duration"),
        ("300000000000", "292 years"),
        ("99999999w", "292 years"),
        ("9" * 200, "292 years"),
        ("9" * 5000, "not a duration"),
        ("9" * 5000 + "s", "not a duration"),
    ],
)
def test_an_invalid_duration_is_an_error(text: str, said: str) -> None:
    with pytest.raises(ParseError, match=said):
        parse_duration(text)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_duration_or_an_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ParseError:
        return
    assert math.isfinite(seconds)


@pytest.mark.parametrize(
    ("longest", "longer"),
    [
        ("9223372036854775807ns", "9223372036854775808ns"),
        ("9223372036", "9223372037"),
        ("-9223372036", "-9223372037"),
        ("0" * 255 + "s", "9" * 255 + "s"),
    ],
)
def test_a_duration_has_at_most_the_nanoseconds_of_64_bits(longest: str, longer: str) -> None:
    assert abs(parse_duration(longest)) <= 2**63 / 1e9
    with pytest.raises(ParseError) as caught:
        parse_duration(longer)
    assert caught.value.message == "the duration is longer than 292 years"
