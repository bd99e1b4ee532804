"""Requests that fail and WebSockets that are cut while pilotage restarts and Envoy is upgraded (``gateway.keep``).

    python benchmarks/restarts.py [--times N] [--rate 500] [--sockets 20] [SCENARIO …]

It starts a fake engine, ``pilotage serve``, an Envoy that outlives it, and a process that sends requests, half over
reused and half over new connections. By default there are 10 restarts, 10 kills and 5 upgrades. The scenario
``envoy-killed`` kills Envoy itself ten times within a minute and prints how long it is away, and how much of that it
waited for other programs.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.load import failures, percentiles
from tests.support.restarts import SCENARIOS, envoy_killed

_TIMES = {"terminate": 10, "kill": 10, "upgrade": 5, "versions": 5}
_KILLED = "envoy-killed"


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


async def _run(name: str, times: int, rate: int, sockets: int) -> None:
    label, scenario = SCENARIOS[name]
    with tempfile.TemporaryDirectory(prefix="restarts-") as folder:
        outcome = await scenario(Path(folder), times, rate, sockets)
    failed = failures(outcome.answers)
    kinds = ", ".join(f"{count} {kind}" for kind, count in failed.most_common())
    _, most, longest = percentiles(outcome.answers)
    said = f"{failed.total()} ({kinds})" if failed else 0
    cut = f"{len(outcome.cut)} of {sockets * times}"
    numbers = (f"{most * 1e3:.0f} ms", f"{longest * 1e3:.0f} ms")
    print(_row(label, times, f"{len(outcome.answers):,}", said, cut, outcome.cut_early, *numbers), flush=True)


async def _run_killed(times: int) -> None:
    for keep in (True, False):
        with tempfile.TemporaryDirectory(prefix="restarts-") as folder:
            away = await envoy_killed(Path(folder), times, keep=keep, settled=1.5)
        print(f"Envoy killed, keep {keep}, seconds until the first response; {times} times:")
        for what, numbers in (
            ("in all", [it.took for it in away]),
            ("without waiting for a core", [it.took - it.waited for it in away]),
            ("processor time of the new Envoy", [it.busy for it in away]),
        ):
            each = ", ".join(f"{figure:.2f}" for figure in numbers)
            print(f"  {what}: {statistics.median(numbers):.2f} (median); {each}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", choices=[[], *SCENARIOS, _KILLED])
    parser.add_argument("--times", type=int, help="how often; by default 10, and 5 for upgrades")
    parser.add_argument("--rate", type=int, default=500, help="requests each second")
    parser.add_argument("--sockets", type=int, default=20, help="WebSockets")
    asked = parser.parse_args()
    chosen = asked.scenarios or [*SCENARIOS, _KILLED]
    print(_row("what happens", "times", "requests", "failed", "WebSockets cut", "cut early", "p99", "longest"))
    print(_row(*["---"] * 8), flush=True)
    for name in chosen:
        if name == _KILLED:
            asyncio.run(_run_killed(asked.times or 10))
        else:
            asyncio.run(_run(name, asked.times or _TIMES[name], asked.rate, asked.sockets))


if __name__ == "__main__":
    main()
