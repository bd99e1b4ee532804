"""From an engine's list over a unix socket to routes: CPU and memory, beside the CPU of parsing the JSON alone.

    python benchmarks/list_to_routes.py [COUNT …]

Each count runs in a separate process, the engine in another.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from corpus import list_body

import pilotage
from pilotage import DockerProviderConfig, Pool, build_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.synchronize import Event

_RUNS = 9

scan_engine = pilotage.survey_engine if not hasattr(pilotage, "scan_engine") else pilotage.scan_engine  # before 0.2


async def _answer(body: bytes, path: str, ready: Event) -> None:
    """Run an engine that has one response."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(2**16):
            answer = body if b"/containers/json" in request.split(b"\r\n")[0] else b'{"ApiVersion":"1.51"}'
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
            writer.write(head.encode() + answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, path, limit=2**20)
    ready.set()
    await server.serve_forever()


def _engine(count: int, path: str, ready: Event) -> None:
    asyncio.run(_answer(list_body(count), path, ready))


@contextlib.contextmanager
def engine_with(count: int) -> Iterator[str]:
    """Run an engine with some containers in a process of its own; yield the path of its socket."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path, ready = str(Path(folder) / "engine.sock"), context.Event()
        engine = context.Process(target=_engine, args=(count, path, ready), daemon=True)
        engine.start()
        if not ready.wait(60):
            raise RuntimeError("the engine did not start")
        try:
            yield path
        finally:
            engine.kill()
            engine.join()


async def _measure(count: int, path: str) -> None:
    async with Pool() as pool:
        config = DockerProviderConfig(f"unix://{path}", name="local")
        snapshot = await scan_engine(config, pool=pool)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.process_time()
        table = build_table([snapshot])
        into_table = time.process_time() - started
        served = sum(not route.excluded for route in table.routes.values())
        del table, snapshot
        body = list_body(count)
        scans, loads = [], []
        for _ in range(_RUNS):  # in turn, because the machine's speed varies
            started = time.process_time()
            await scan_engine(config, pool=pool)
            scans.append(time.process_time() - started)
            started = time.process_time()
            json.loads(body)
            loads.append(time.process_time() - started)
    scan, load = min(scans), min(loads)
    print(
        f"{count:>7,} containers of {len(body) / count:.0f} bytes: {scan / count * 1e6:5.1f} us each, list to routes"
        f" + {into_table / count * 1e6:.1f} us into the table; peak {peak:.0f} MB (aim: 78 at 10,000);"
        f" {served:,} routes"
    )
    print(
        f"{'':>7}  json.loads alone: {load / count * 1e6:.1f} us each; list to routes {scan / load:.2f} times"
        " (aim: 1.2)"
    )


def _run(count: int, path: str) -> None:
    asyncio.run(_measure(count, path))


def main() -> None:
    for count in [int(word) for word in sys.argv[1:]] or [100, 1_000, 10_000]:
        with engine_with(count) as path:
            client = multiprocessing.get_context("spawn").Process(target=_run, args=(count, path))
            client.start()
            client.join()


if __name__ == "__main__":
    main()
