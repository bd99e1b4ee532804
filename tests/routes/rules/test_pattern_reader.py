from __future__ import annotations

import pytest

from pilotage.routes.rules.pattern_reader import PatternReader


def test_characters_are_read_one_after_another() -> None:
    reader = PatternReader("ab")
    assert (reader.next, reader.take(), reader.take("b"), reader.next) == ("a", "a", "b", "")
    with pytest.raises(ValueError, match="lacks 'c'"):
        PatternReader("b").take("c")


def test_length_and_depth_are_limited() -> None:
    with pytest.raises(ValueError, match="more than 1,000 characters"):
        PatternReader("a" * 1_001)
    reader = PatternReader("")
    for _ in range(20):
        reader.deeper()
    with pytest.raises(ValueError, match="more than 20 levels"):
        reader.deeper()
