"""Memory of `pilotage serve` and its Envoy with many routes, and the time that their start takes.

    python benchmarks/gateway_memory.py [--quick]

The daemon runs as a separate process, with a fake engine in another whose containers are web servers on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from support import MAY_REACH_TARGETS, Asker, busy, engine, host_of, memory, row, served, targets

from tests.support.deployments import serving


async def _measure(folder: Path, port: int, count: int, *, composed: bool) -> None:
    aims = {} if composed or count != 10_000 else {"daemon": "120 MB (114 MiB)", "Envoy": "200 MB (191 MiB)"}
    with engine(count, port, composed=composed) as url:
        began = time.perf_counter()
        async with serving(folder, {"local": url}, policy=MAY_REACH_TARGETS) as daemon:
            took = time.perf_counter() - began
            (envoy,) = daemon.envoys()
            spent = busy(daemon.pid), busy(envoy)
            unasked = memory(envoy)
            async with Asker(daemon.port) as asker:
                await served([asker], [host_of(number) for number in range(count)])
            row(f"**{count:,} {'routes of Compose services' if composed else 'plain routes'}**", "", "")
            row("start of the daemon until it serves", f"{took:.1f} s", "")
            row("  processor time: daemon, Envoy", f"{spent[0]:.1f} s, {spent[1]:.1f} s", "")
            row("memory: daemon", f"{memory(daemon.pid):.0f} MiB", aims.get("daemon", ""))
            row("memory: Envoy", f"{unasked:.0f} MiB", aims.get("Envoy", ""))
            row("  after a request to every route", f"{memory(envoy):.0f} MiB", "")


async def _run(counts: tuple[int, ...]) -> None:
    row("what", "measured", "aim")
    row("---", "---", "---")
    with targets() as port, tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        for count in counts:
            for composed in (False, True):
                folder = Path(temporary) / f"{count}-{composed}"
                folder.mkdir()
                await _measure(folder, port, count, composed=composed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer routes")
    asked = parser.parse_args()
    asyncio.run(_run((10, 1_000) if asked.quick else (10, 1_000, 10_000)))


if __name__ == "__main__":
    main()
