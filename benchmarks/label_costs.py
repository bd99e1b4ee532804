"""The CPU time of building the routes of one container with 1 MiB of labels, for each way in which labels can grow.

    python benchmarks/label_costs.py [DIMENSION …]

The event loop waits while the routes of a container are built. The aim is 50 ms on the machine on which the fixed
piece of work below takes 10 ms, so each line shows the ratio of the two; the aim is 5.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pilotage.containers.parse import ContainerParser
from pilotage.routes.build import RouteBuilder

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.costly_labels import DIMENSIONS, largest
from tests.support.summaries import LOCAL, summary

if TYPE_CHECKING:
    from collections.abc import Callable

_AIM = 5.0
_RUNS = 5


def _cpu_time(run: Callable[[], object]) -> float:
    """Return the CPU time in seconds of the fastest of several runs."""
    times = []
    for _ in range(_RUNS):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    return min(times)


def _fixed_work() -> None:
    for number in range(100_000):
        str(number).partition(".")


def _build(raw: bytes) -> Callable[[], object]:
    return lambda: RouteBuilder().build(ContainerParser(LOCAL).decode(raw))


def main(names: list[str]) -> None:
    print(f"{'dimension':<50} {'repeated':>9} {'ms':>7} {'ratio':>6}")
    for name in names or list(DIMENSIONS):
        make = DIMENSIONS[name]
        most = largest(make)
        worst = (0.0, 0.0, 0)
        for number in {most, min(3_000, most), min(1_000, most)}:
            run = _build(msgspec.json.encode(summary(labels=make(number))))
            taken, known = _cpu_time(run), _cpu_time(_fixed_work)
            worst = max(worst, (taken / known, taken, number))
        ratio, taken, number = worst
        print(f"{name:<50} {number:>9,} {taken * 1000:>7.1f} {ratio:>6.1f}{'' if ratio <= _AIM else '  over the aim'}")


if __name__ == "__main__":
    main(sys.argv[1:])
