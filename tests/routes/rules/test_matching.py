from __future__ import annotations

import time

from pilotage.routes.rules import Pattern, matches, parse_glob, parse_regex


def test_exact_patterns_equal_and_negated_ones_differ() -> None:
    assert matches(Pattern("exact", "a"), "a")
    assert not matches(Pattern("exact", "a"), "ab")
    assert matches(Pattern("exact", "a", negate=True), "b")
    assert not matches(Pattern("glob", "*", parse_glob("*"), negate=True), "b")


def test_no_pattern_takes_exponential_time() -> None:
    begin = time.process_time()
    assert not matches(Pattern("regex", "", parse_regex("^(a+)+$")), "a" * 200 + "b")
    assert not matches(Pattern("glob", "", parse_glob("*a" * 60 + "b")), "a" * 200)
    assert time.process_time() - begin < 2
