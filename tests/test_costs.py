"""What one container's labels can cost: its routes are built in the event loop, while everything else waits.

Each dimension is grown until its labels have 1 MiB. Work is counted in calls of Python and C functions, which do not
depend on the machine; what a single C call costs is measured as CPU time against a fixed piece of work.
"""

from __future__ import annotations

import functools
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest

from pilotage.containers.parse import ContainerParser
from pilotage.core.budget import MAX_PROBLEMS
from pilotage.routes.build import Built, RouteBuilder
from tests.support.costly_labels import DIMENSIONS
from tests.support.summaries import LOCAL, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.costly_labels import Labels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SIZE = 1024 * 1024
MOST_CALLS = 600_000  # about 50 ms: a call takes less than 0.1 µs
SOME_CALLS = 50_000  # below, constant costs hide the growth


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


def size_of(labels: dict[str, str]) -> int:
    return sum(len(key) + len(text) for key, text in labels.items())


@functools.cache
def largest(make: Labels) -> int:
    """Return the highest number of repetitions, to an eighth, at which the labels have at most 1 MiB."""
    number = 64
    while size_of(make(2 * number)) <= SIZE:
        number *= 2
    step = number // 8
    while size_of(make(number + step)) <= SIZE:
        number += step
    return number


@pytest.mark.parametrize("name", DIMENSIONS)
def test_twice_the_labels_cost_about_twice_the_calls(name: str) -> None:
    make = DIMENSIONS[name]
    most = largest(make)
    sizes = [most >> halvings for halvings in range(12, -1, -1) if most >> halvings]
    calls = [calls_of(builder_of(make(number))) for number in sizes]
    for number, (before, now) in zip(sizes[1:], pairwise(calls), strict=True):
        assert now <= max(2.2 * before, SOME_CALLS), f"{name} x {number}: {before} -> {now} calls"
    assert max(calls) <= MOST_CALLS


def cpu_time(run: Callable[[], object]) -> float:
    """Return the CPU time of the best of several runs."""
    times = []
    for _ in range(3):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    return min(times)


def known_work() -> None:
    """Take about 10 ms on the machine that the 50 ms of the bar were measured on."""
    for number in range(100_000):
        str(number).partition(".")


@pytest.mark.parametrize("name", DIMENSIONS)
def test_a_mebibyte_of_labels_costs_no_more_than_a_known_piece_of_work(name: str) -> None:
    make = DIMENSIONS[name]
    most = largest(make)
    for number in (most, 3_000, 1_000):
        assert cpu_time(builder_of(make(min(number, most)))) < 5 * cpu_time(known_work), f"{name} x {number}"


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
