"""CPU time of many routes in one push: building them, Envoy's work for them, and the time until all are served.

    python benchmarks/pushes.py [--routes 10000] [--quick]

Each push adds 500 routes to an Envoy that already has many, as after the start of a large Compose project.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from support import Asker, busy, host_of, led, ms, quantile, route, routes, row, served, targets

if TYPE_CHECKING:
    from support import Led

_PUSHED: Final = 500
_FRESH: Final = 100_000
"""The number of the first route that is added."""
_ASKERS: Final = 4


def _envoy(folder: Path) -> int:
    """Return the process ID of the Envoy whose configuration is in a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if command[0].endswith("envoy") and any(it.startswith(str(folder)) for it in command):
                return int(process.name)
    raise SystemExit("the Envoy is not running")


def _us(seconds: list[float]) -> str:
    return f"{quantile(seconds, 0.5) / _PUSHED * 1e6:,.0f} µs"


async def _measure(envoy: Led, pid: int, port: int, askers: list[Asker], turns: int, *, service: bool) -> None:
    building, ours, theirs, took = [], [], [], []
    for turn in range(1 + turns):  # the first turn warms up
        first = _FRESH + turn * _PUSHED
        numbers = range(first, first + _PUSHED)
        more = [route(number, port, service=service) for number in numbers]
        spent, used, began = busy(pid), time.process_time(), time.perf_counter()
        envoy.change(put=more)
        built = time.process_time() - used
        await envoy.wait_for_acks()
        sent, received = time.process_time() - used, busy(pid) - spent
        await served(askers, [host_of(number) for number in numbers])
        if turn:
            building.append(built)
            ours.append(sent)
            theirs.append(received)
            took.append(time.perf_counter() - began)
        await asyncio.sleep(0.5)
    row(f"**{'routes of Compose services' if service else 'plain routes'}**", "", "")
    row("control plane: CPU time to build one", _us(building), "15 µs")
    row("  until Envoy has acknowledged it", _us(ours), "")
    row("Envoy: CPU time for one", _us(theirs), "150 µs")
    row(f"{_PUSHED} routes: all asked for and served, median of {turns}", ms(quantile(took, 0.5)), "150 ms")


async def _run(count: int, turns: int) -> None:
    row("what", "measured", "aim")
    row("---", "---", "---")
    for service in (False, True):
        with targets() as port, tempfile.TemporaryDirectory(prefix="bench-") as temporary:
            folder = Path(temporary)
            async with led(folder) as envoy, contextlib.AsyncExitStack() as stack:
                envoy.publish_all(routes(count, port, service=service))
                await envoy.wait_for_acks()
                askers = [await stack.enter_async_context(Asker(envoy.port)) for _ in range(_ASKERS)]
                await _measure(envoy, _envoy(folder), port, askers, turns, service=service)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--routes", type=int, default=10_000, help="number of routes that Envoy already has")
    parser.add_argument("--quick", action="store_true", help="fewer pushes")
    asked = parser.parse_args()
    asyncio.run(_run(asked.routes, 3 if asked.quick else 7))


if __name__ == "__main__":
    main()
