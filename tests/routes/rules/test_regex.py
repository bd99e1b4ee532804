from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.routes.rules import Pattern, matches, parse_regex


def searched(regex: str, text: str) -> bool:
    return matches(Pattern("regex", regex, parse_regex(regex)), text)


REGEXES = [
    *["a", "^a", "a$", "^a$", "a|b", "(a|b)c", "a*", "a+b", "a?b", "a{2}", "a{2,}b", "a{1,2}c", ".b", "[a-c]", "[^a]"],
    *[
        r"\d",
        r"\D+",
        r"\w\s",
        "(?i)A",
        "(?i:A)b",
        "(?P<x>a)",
        "(?:ab)+",
        r"\.",
        r"[\]a-]",
        "[]a]",
        "a{b",
        r"\x61",
        "a??b",
    ],
    *["(?s).", "a.c", r"[\d_]", "(a(b|c)*)+$", r"\Aab\z"],
]


@given(st.sampled_from(REGEXES), st.text(alphabet="abcA1_ -.\n]{", max_size=6))
def test_regexes_mean_what_they_mean_in_python(regex: str, text: str) -> None:
    python = regex.replace("$", r"\Z").replace(r"\z", r"\Z").replace("(?P<x>", "(")
    assert searched(regex, text) == (re.search(python, text, re.ASCII) is not None)


def test_flags_end_with_their_group_and_quoted_text_is_literal() -> None:
    assert searched("((?i)a)b", "Ab")
    assert not searched("((?i)a)b", "AB")
    assert searched(r"^\Qa.b\E+$", "a.bb") is False  # the repetition is of all that is quoted
    assert searched("[[:alpha:]]", "x")
    assert not searched("[[:^alpha:]]", "x")
    assert searched("(?i)[A-C]", "b")


@pytest.mark.parametrize(
    ("regex", "message"),
    [
        ("(", "the pattern lacks ')'"),
        (")", "')' at character 1 of the regex is unmatched"),
        ("[a", "the pattern ends too early"),
        ("*a", "'*' at character 1 of the regex repeats nothing"),
        ("a**", "a repetition follows another at character 3 of the regex"),
        ("a{2,1}", "{2,1} is not a repetition"),
        ("a{1001}", "{1001} is not a repetition"),
        ("(a{100}){100}", "the pattern is too large; use fewer or smaller repetitions"),
        (r"\bword\b", "\\b in a regex is not supported"),
        (r"\p{L}", "\\p in a regex is not supported"),
        ("(?=a)", "(?=a in a regex is not supported"),
        ("(?m)^a", "(?m in a regex is not supported"),
        ("^*", "a repeated '^' or '$' in a regex is not supported"),
        ("[z-a]", "a class in the regex has an invalid range"),
        ("[[:no:]]", "the regex has no class [:no:]"),
        (r"\x{zz}", "\\x in the regex needs hexadecimal digits"),
        (r"\x{110000}", "a character code in the regex is too large"),
        ("(?P<1>a)", "a group at character 4 of the regex has no valid name"),
        ("a" * 1001, "the pattern has more than 1,000 characters"),
        ("(" * 21, "the pattern has more than 20 levels"),
        ("\\", "the pattern ends too early"),
    ],
)
def test_invalid_and_unsupported_regexes_are_refused(regex: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_regex(regex)
