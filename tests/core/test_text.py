from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.core.text import count, escape, format_duration, safe_json, shorten


@pytest.mark.parametrize(
    ("value", "short"),
    [
        ("plain", "plain"),
        (5, "5"),
        (None, "None"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202e", "\\u202e"),
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


@pytest.mark.parametrize(("number", "text"), [(0, "0 routes"), (1, "1 route"), (2, "2 routes")])
def test_count_uses_the_plural(number: int, text: str) -> None:
    assert count(number, "route") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (5, "5s"), (90, "1m30s"), (3600, "1h"), (90061.5, "1d1h1m1.5s"), (0.25, "0.25s"), (-60, "-1m")],
)
def test_a_duration_is_written_with_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    "char",
    "\x1b \x7f \x9b \xa0 \xad \u061c \u200b \u200f \u202e \u2066 \u2800 \u3164 \ufe0f \ufeff \U000e0041".split(" "),
)
def test_characters_that_deceive_are_escaped_in_text_and_json(char: str) -> None:
    assert escape(f"a{char}b") == f"a{escape(char)}b"
    assert escape(char).isascii()
    body = json.dumps({"name": f"a{char}b"}, ensure_ascii=False).encode()
    assert safe_json(body).isascii()
    assert json.loads(safe_json(body)) == json.loads(body)


def test_letters_of_all_languages_stay() -> None:
    for text in ("Zürich", "Ελλάδα", "東京", "مرحبا", "e\u0301", "a b"):
        assert escape(text) == text
        assert safe_json(f'{{"name": "{text}"}}\n'.encode()) == f'{{"name": "{text}"}}\n'.encode()
