from __future__ import annotations

import pytest

from pilotage.routes.rules import Chain, Repeat, literal_node, parse_regex
from pilotage.routes.rules.nodes import bounded, invert, merge, size


def test_sets_of_characters_are_sorted_and_do_not_overlap() -> None:
    assert merge([(5, 6), (1, 2), (3, 3), (6, 9)]) == ((1, 3), (5, 9))
    assert invert(((0, 4), (10, 0x10FFFF))) == ((5, 9),)
    assert invert(()) == ((0, 0x10FFFF),)


def test_the_size_counts_repetitions() -> None:
    assert size(parse_regex("a{10}")) == 11
    assert size(Repeat(Chain(()), 0, None)) == 2
    with pytest.raises(ValueError, match="too large"):
        bounded(literal_node("a" * 2_000))
