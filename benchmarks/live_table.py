"""The live table under events: requests, CPU, latency and memory for different numbers of containers and engines.

    python benchmarks/live_table.py [COUNT …]
    python benchmarks/live_table.py --engines 200

The engines run in a separate process that takes orders over a pipe, so the CPU time printed is pilotage's alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import resource
import statistics
import time
from typing import TYPE_CHECKING, Any

import msgspec

from pilotage import DockerProviderConfig, discover
from pilotage.testing import FakeContainer, FakeEngine, container

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

_EVENTS = 400
_LISTS = 12


class _ShuffledEngine(FakeEngine):
    """An engine that lists ports and mounts in another order each time, as dockerd does.

    dockerd keeps both in Go maps. Iterating a small one begins at a random entry and goes on in a fixed order. All
    addresses of one port stay together.
    """

    def summary_bytes(self, it: FakeContainer, *, with_health: bool) -> bytes:
        """Return a container's entry in the list."""
        entry = msgspec.json.decode(super().summary_bytes(it, with_health=with_health))
        ports: dict[int, list[Any]] = {}
        for port in entry["Ports"]:
            ports.setdefault(port["PrivatePort"], []).append(port)
        entry["Ports"] = [port for group in _rotated(list(ports.values())) for port in group]
        entry["Mounts"] = _rotated(entry["Mounts"])
        return msgspec.json.encode(entry)


def _rotated(entries: list[Any]) -> list[Any]:
    start = random.randrange(len(entries)) if entries else 0
    return entries[start:] + entries[:start]


def _containers(count: int, prefix: str = "") -> list[Any]:
    noise = {f"com.example.label-{n}": "some value or other" for n in range(10)}
    mounts = [("data", "/data"), ("config", "/etc/app")]
    return [
        container(
            f"{prefix}app{i}",
            labels={f"proxy.{prefix}app{i}.port": "8080", **noise},
            ports=["8080", "9090", f"{10_000 + i % 50_000}:9443"],
            mounts=mounts,
        )
        for i in range(count)
    ]


async def _engines(orders: Connection, engines: int, count: int) -> None:
    """Run fake engines; carry out orders ``(engine, method, container)``."""
    prefixes = [f"e{number}-" if engines > 1 else "" for number in range(engines)]
    running = [_ShuffledEngine(_containers(count, prefix)) for prefix in prefixes]
    for engine in running:
        await engine.__aenter__()
    orders.send([engine.url for engine in running])
    loop = asyncio.get_running_loop()
    while True:
        order = await loop.run_in_executor(None, orders.recv)
        if order is None:
            break
        if order == "calls":
            orders.send([dict(engine.calls) for engine in running])
            continue
        for index, method, name in order:
            getattr(running[index], method)(name)
    for engine in running:
        await engine.close()


def _loads_alone(containers: list[Any]) -> float:
    """Return the milliseconds of CPU that the standard library needs for a list of these containers."""
    engine = FakeEngine(containers)
    body = b"[" + b",".join(engine.summary_bytes(it, with_health=False) for it in containers) + b"]"
    started = time.process_time()
    json.loads(body)
    return (time.process_time() - started) * 1e3


def _run_engines(orders: Connection, engines: int, count: int) -> None:
    asyncio.run(_engines(orders, engines, count))


@contextlib.contextmanager
def _steps() -> Iterator[list[float]]:
    """Yield the processor times of all steps of the event loop, in seconds."""
    steps: list[float] = [0.0]
    handles: Any = asyncio.events.Handle
    run = handles._run

    def timed(handle: asyncio.Handle) -> None:
        started = time.thread_time()
        run(handle)
        steps.append(time.thread_time() - started)

    handles._run = timed
    try:
        yield steps
    finally:
        handles._run = run


async def _one_engine(orders: Connection, count: int) -> float:
    (url,) = orders.recv()
    started, wall = time.process_time(), time.perf_counter()
    async with discover([DockerProviderConfig(url, name="one")]) as discovery:
        updates = discovery.subscribe()
        with _steps() as steps:
            await discovery.ready()
            cold = time.process_time() - started
            while "app0" not in updates._delivered.routes:
                await anext(updates)
        print(
            f"{count:>7,} containers: cold start {cold * 1e3:.0f} ms CPU, {time.perf_counter() - wall:.2f} s; longest"
            f" step of the event loop {max(steps) * 1e3:.1f} ms CPU (aim: 15)"
        )

        started = time.process_time()
        for _ in range(_EVENTS):
            orders.send([])
        ordering = time.process_time() - started  # this program's own work
        latencies, started = [], time.process_time()
        for number in range(_EVENTS):
            stop = number % 2 == 0
            asked = time.perf_counter()
            orders.send([(0, "die" if stop else "start", "app0")])
            while discovery.table.routes["app0"].excluded is not stop:
                await anext(updates)
            latencies.append(time.perf_counter() - asked)
        relevant = (time.process_time() - started - ordering) / _EVENTS
        quantiles = statistics.quantiles(latencies, n=100)
        print(
            f"{'':>9}relevant event: {relevant * 1e6:.0f} us CPU; order to table p50 {quantiles[49] * 1e3:.2f} ms,"
            f" p99 {quantiles[98] * 1e3:.2f} ms"
        )

        watcher: Any = discovery.watcher("one")
        before, started = watcher.events, time.process_time()
        orders.send([(0, "exec", "app0")] * _EVENTS)
        orders.send("calls")
        calls = await asyncio.to_thread(orders.recv)
        await asyncio.sleep(0.2)
        idle = time.process_time() - started
        print(f"{'':>9}irrelevant (exec) event: {idle / _EVENTS * 1e6:.1f} us CPU, {watcher.events - before} arrived")
        print(f"{'':>9}calls: {calls[0]}")

        wakeup = getattr(watcher, "_wakeup", None) or watcher._wanted  # its name in 0.1.0, for compare.py
        spent = []
        for _ in range(_LISTS):
            listed_at, started = watcher.listed_at, time.process_time()
            watcher._reconcile_at = 0.0
            wakeup.set()
            async with asyncio.timeout(20):
                while watcher.listed_at == listed_at:  # the watcher offers no notification
                    await asyncio.sleep(0.02)
            spent.append((time.process_time() - started) * 1e3)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        loads = min(_loads_alone(_containers(count)) for _ in range(3))
        print(
            f"{'':>9}reconciling {count:,} unchanged: {spent[0]:.1f} ms CPU, {min(spent[-3:]):.1f} ms after"
            f" {_LISTS - 3} times (aim: 40 at 10,000); json.loads alone: {loads:.1f} ms"
        )
    print(f"{'':>9}peak memory {peak:.0f} MB")
    return relevant


async def _many_engines(orders: Connection, engines: int, count: int) -> None:
    urls = orders.recv()
    configs = [DockerProviderConfig(url, name=f"e{i}") for i, url in enumerate(urls)]
    async with discover(configs) as discovery:
        await discovery.ready()
        print(f"{engines} engines with {count} containers: {len(discovery.table.routes)} aliases")
        updates = discovery.subscribe()
        await anext(updates)
        latencies, rounds = [], 500
        started, wall = time.process_time(), time.perf_counter()
        for number in range(rounds):
            engine, stop = (number // 2) % engines, number % 2 == 0
            state = discovery._providers[f"e{engine}"].state
            wanted = next(i for i, c in state.containers.items() if c.container_name == f"e{engine}-app0")
            asked = time.perf_counter()
            orders.send([(engine, "die" if stop else "start", f"e{engine}-app0")])
            while state.containers[wanted].running is stop:
                await anext(updates)
            latencies.append(time.perf_counter() - asked)
            await asyncio.sleep(max(0.0, wall + (number + 1) * 0.01 - time.perf_counter()))
        cpu, spent = time.process_time() - started, time.perf_counter() - wall
        quantiles = statistics.quantiles(latencies, n=100)
        print(
            f"    {rounds / spent:.0f} events/s: order to table p50 {quantiles[49] * 1e3:.2f} ms (aim 1.5), p99"
            f" {quantiles[98] * 1e3:.2f} ms (aim 3), {cpu / spent:.0%} of a core (aim 10 %)"
        )
        flood = 3_000
        started, wall = time.process_time(), time.perf_counter()
        for start in range(0, flood, 30):
            numbers = [(n % engines, "die" if (n // engines) % 2 == 0 else "start") for n in range(start, start + 30)]
            orders.send([(engine, what, f"e{engine}-app1") for engine, what in numbers])
            await asyncio.sleep(max(0.0, wall + (start + 30) / 3_000 - time.perf_counter()))
        seen = sum(discovery.watcher(c.name).events for c in configs)
        await asyncio.sleep(0.05)
        cpu, spent = time.process_time() - started, time.perf_counter() - wall
        print(f"    flood of {flood / spent:.0f} events/s: {cpu / spent:.0%} of a core, {seen} events read so far")
    print(f"    peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB (aim 80)")


def _in_processes(engines: int, count: int) -> float:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run_engines, args=(theirs, engines, count), daemon=True)
    process.start()
    result = 0.0
    try:
        if engines == 1:
            result = asyncio.run(_one_engine(ours, count))
        else:
            asyncio.run(_many_engines(ours, engines, count))
    finally:
        ours.send(None)
        process.join(10)
        process.kill()
    return result


def _child(engines: int, count: int, answer: Connection) -> None:
    answer.send(_in_processes(engines, count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("counts", nargs="*", type=int, default=[100, 1_000, 10_000])
    parser.add_argument("--engines", type=int, default=0)
    asked = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    found: dict[int, float] = {}
    for count in [50] if asked.engines else asked.counts:
        ours, theirs = context.Pipe()
        child = context.Process(target=_child, args=(asked.engines or 1, count, theirs))
        child.start()
        child.join(170)
        if ours.poll():
            found[count] = ours.recv()
    if len(found) > 1:
        low, high = min(found), max(found)
        ratio = found[high] / found[low]
        print(f"CPU for an event at {high:,} against {low:,} containers: {ratio:.2f} times (aim: 0.8 to 1.2)")


if __name__ == "__main__":
    main()
