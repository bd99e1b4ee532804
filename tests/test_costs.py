"""What one container's labels can cost: its routes are built in the event loop, while everything else waits.

Each dimension is grown until its labels have 1 MiB. Work is counted in calls of Python and C functions, which do not
depend on the machine. A single C call that takes minutes (a backtracking expression) runs into the timeout of the
test; `benchmarks/label_costs.py` measures the CPU time.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest

from pilotage.containers.parse import ContainerParser
from pilotage.core.budget import MAX_PROBLEMS
from pilotage.routes.build import Built, RouteBuilder
from tests.support.costly_labels import DIMENSIONS, SIZE, largest
from tests.support.summaries import LOCAL, summary

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MOST_CALLS = 600_000  # about 50 ms: a call takes less than 0.1 µs
SOME_CALLS = 60_000  # below, constant costs hide the growth


def builder_of(labels: dict[str, str]) -> Callable[[], Built]:
    """Return what the event loop does with an element of the engine's list."""
    raw = msgspec.json.encode(summary(labels=labels))
    return lambda: RouteBuilder().build(ContainerParser(LOCAL).decode(raw))


def calls_of(run: Callable[[], object]) -> int:
    """Return how many functions are called."""
    count = 0

    def profile(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("name", DIMENSIONS)
def test_twice_the_labels_cost_about_twice_the_calls(name: str) -> None:
    make = DIMENSIONS[name]
    most = largest(make)
    sizes = [most >> halvings for halvings in range(12, -1, -1) if most >> halvings]
    calls = [calls_of(builder_of(make(number))) for number in sizes]
    for number, (before, now) in zip(sizes[1:], pairwise(calls), strict=True):
        assert now <= max(2.2 * before, SOME_CALLS), f"{name} x {number}: {before} -> {now} calls"
    assert max(calls) <= MOST_CALLS


@pytest.mark.parametrize("name", DIMENSIONS)
def test_what_comes_of_any_labels_is_bounded(name: str) -> None:
    make = DIMENSIONS[name]
    for number in (1_000, 3_000, SIZE):
        built = builder_of(make(min(number, largest(make))))()
        assert len(built.problems) <= MAX_PROBLEMS + 1
        assert len(built.routes) <= 1_000
        assert sum(len(route.problems) for route in built.routes) <= 2 * MAX_PROBLEMS * 20
        for problem in built.problems:
            assert len(str(problem)) < 20_000
            assert "defect" not in problem.hint
