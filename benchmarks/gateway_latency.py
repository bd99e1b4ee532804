"""Time from a change of the table to the first response through Envoy, with few and many routes; pushes and restarts.

    python benchmarks/gateway_latency.py [--quick]

Real Envoys with one worker each, the control plane in this process and targets in another, all on loopback. Envoys with
10, 1,000 and 10,000 routes take turns, so noise affects all of them alike.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from support import Asker, Led, host_of, led, ms, quantile, route, routes, row, served, targets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_COUNTS: Final = (10, 1_000, 10_000)
_AIMS: Final = {False: ("2.5 ms", "6 ms"), True: ("3 ms", "7 ms")}
"""Aims for one more route, p50 and p99: plain, and of a Compose service."""
_FIRST_PUSH: Final = "1,500 ms"

_FRESH: Final = 1_000_000
"""Numbers of routes that come and go."""

_AT_ONCE: Final = 20
_PUSHED: Final = 500
_ASKERS: Final = 16
_AWAY: Final = 0.5
"""Seconds for which there is no control plane."""


class _Measured:
    """Measurements at one number of routes."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self.bytes = 0


async def _warm_up(envoy: Led, asker: Asker, count: int, port: int, *, service: bool) -> None:
    """Publish all routes at once, and check that each one is served."""
    all_routes = routes(count, port, service=service)
    began, spent = time.perf_counter(), time.process_time()
    envoy.publish_all(all_routes)
    built = time.process_time() - spent
    await envoy.wait_for_acks()
    last = max(all_routes)  # sent in order of their names
    await asker.until(f"{last}.example.com")
    took = time.perf_counter() - began
    await served([asker], [host_of(number) for number in range(count)])
    what = f"first push of {count:,} routes until served; building them took {built / count * 1e6:.0f} us each"
    row(what, ms(took), _FIRST_PUSH if count == _COUNTS[-1] and not service else "")


async def _changes(envoy: Led, asker: Asker, measured: _Measured, port: int, numbers: range, *, service: bool) -> None:
    """Repeatedly add a route, wait for its first response, and remove it."""
    received = await envoy.received()
    for number in numbers:
        fresh = route(number, port, service=service)
        began = time.perf_counter()
        envoy.change(put=[fresh])
        await asker.until(host_of(number))
        measured.took.append(time.perf_counter() - began)
        envoy.change(remove=[fresh.alias])
        await asker.until(host_of(number), 404)
        await envoy.wait_for_acks()
    measured.bytes += await envoy.received() - received


async def _push(envoy: Led, askers: list[Asker], port: int, first: int, *, service: bool) -> tuple[float, float]:
    """Add many routes at once; return the seconds until all are served, and those of the requests alone."""
    fresh = [route(number, port, service=service) for number in range(first, first + _PUSHED)]
    hosts = [host_of(number) for number in range(first, first + _PUSHED)]
    began = time.perf_counter()
    envoy.change(put=fresh)
    await served(askers, hosts)
    there = time.perf_counter()
    await served(askers, hosts)
    asking = time.perf_counter() - there
    envoy.change(remove=[each.alias for each in fresh])
    await envoy.wait_for_acks()
    return there - began, asking


async def _restart(envoy: Led, asker: Asker, port: int) -> None:
    """Replace the control plane by a new one without state, under load; then change a route."""
    asked, failed, done = 0, 0, asyncio.Event()

    async def ask() -> None:
        nonlocal asked, failed
        while not done.is_set():
            failed += await asker.status(host_of(asked % 10)) != 200
            asked += 1
            await asyncio.sleep(0.001)

    received = await envoy.received()
    asking = asyncio.create_task(ask())
    everything = dict(envoy.table.routes)
    await envoy.ads.close()
    await asyncio.sleep(_AWAY)
    began = time.perf_counter()
    await envoy.start_control_plane()
    envoy.publish_all(everything)
    await envoy.wait_for_acks()
    took = time.perf_counter() - began
    sent = await envoy.received() - received
    done.set()
    await asking
    row(f"control plane restarted at {len(everything):,} routes: bytes sent to Envoy", f"{sent:,}", "1,000 at most")
    row("  until Envoy has acknowledged everything", ms(took), "")
    row("  requests meanwhile", f"{asked:,}, {failed} failed", "0 failed")
    fresh = route(_FRESH - 1, port)
    envoy.change(put=[fresh])
    await asker.until(host_of(_FRESH - 1))
    envoy.change(remove=[fresh.alias])
    await envoy.wait_for_acks()


@contextlib.asynccontextmanager
async def _envoys(folder: Path, counts: tuple[int, ...]) -> AsyncIterator[dict[int, Led]]:
    async with contextlib.AsyncExitStack() as stack:
        found = {}
        for count in counts:
            place = folder / f"{count}"
            place.mkdir(mode=0o700)
            found[count] = await stack.enter_async_context(led(place))
        yield found


async def _measure(folder: Path, port: int, counts: tuple[int, ...], *, service: bool, quick: bool) -> None:
    kind = "routes of Compose services" if service else "plain routes"
    row(f"**{kind}**", "", "")
    async with _envoys(folder, counts) as envoys, contextlib.AsyncExitStack() as stack:
        askers = {count: await stack.enter_async_context(Asker(envoy.port)) for count, envoy in envoys.items()}
        measured = {count: _Measured() for count in counts}
        for count, envoy in envoys.items():
            await _warm_up(envoy, askers[count], count, port, service=service)
        for turn in range(1 + (2 if quick else 20)):
            for count, envoy in envoys.items():
                # The first turn warms up.
                kept = measured[count] if turn else _Measured()
                first = _FRESH + turn * _AT_ONCE
                await _changes(envoy, askers[count], kept, port, range(first, first + _AT_ONCE), service=service)
        for count, found in measured.items():
            what = f"one more route at {count:,}: first answer, p50 of {len(found.took)}"
            row(what, ms(quantile(found.took, 0.5)), _AIMS[service][0])
            row("  p99", ms(quantile(found.took, 0.99)), _AIMS[service][1])
            row("  bytes to add and remove it", f"{found.bytes / len(found.took):,.0f}", "")
        few, many = measured[counts[0]], measured[counts[-1]]
        ratio = quantile(many.took, 0.5) / quantile(few.took, 0.5)
        row(f"  {counts[-1]:,} against {counts[0]:,}", f"{ratio:.2f} times", "1.3 times")

        envoy = envoys[counts[-1]]
        more = [await stack.enter_async_context(Asker(envoy.port)) for _ in range(_ASKERS)]
        pushes = [
            await _push(envoy, more, port, _FRESH + (100 + turn) * _PUSHED, service=service)
            for turn in range(2 if quick else 7)
        ]
        what = f"{_PUSHED} more routes in one push at {counts[-1]:,}: all asked for and served, median of {len(pushes)}"
        row(what, ms(quantile((took for took, _ in pushes), 0.5)), "150 ms")
        row("  of which the requests take", ms(quantile((asking for _, asking in pushes), 0.5)), "")
        await _restart(envoy, askers[counts[-1]], port)


async def _run(counts: tuple[int, ...], *, quick: bool) -> None:
    row("what", "measured", "aim")
    row("---", "---", "---")
    with targets() as port, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for service in (False, True):
            place = Path(folder) / str(int(service))
            place.mkdir(mode=0o700)
            await _measure(place, port, counts, service=service, quick=quick)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer routes and fewer changes")
    asked = parser.parse_args()
    asyncio.run(_run(_COUNTS[:2] if asked.quick else _COUNTS, quick=asked.quick))


if __name__ == "__main__":
    main()
