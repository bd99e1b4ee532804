"""Attacks of an engine on the discovery that watches it, in processes of their own, to measure the peak memory."""

from __future__ import annotations

import pytest

from tests.support.hostile_engines import run_attack

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("attack", "most", "words"),
    [
        ("events with new ids", 40, "sends events about more than 2,000 containers at once"),
        ("endless line", 60, "contains something that is not an event"),
        ("endless list", 200, "lists more than 50,000 containers"),
        ("gzip bomb", 40, "is compressed (gzip)"),
        ("100,000 containers", 200, "lists more than 50,000 containers"),  # as much as 50,000, which are allowed
    ],
)
def test_an_attack_costs_little_memory_is_one_problem_and_harms_no_other_engine(
    attack: str, most: float, words: str
) -> None:
    result = run_attack(attack, seconds=10)
    assert result["problems"] == 1
    assert words in result["first problem"]
    assert result["peak growth, MB"] < most
    assert result["log lines"] < 20
    assert result["followed"]
