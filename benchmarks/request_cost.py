"""Instructions that Envoy executes for one request: pilotage's plain and Compose routes beside a bare Envoy.

    python benchmarks/request_cost.py [--requests 400]

Processor time varies by more than what is measured here, so each Envoy runs under callgrind, which counts the
instructions of its worker thread. A request is a GET without a body over a connection that stays open; four
connections take turns. Two runs differ by less than half a percent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from support import Asker, answers, free_port, host_of, route, routes, row, running, targets

from pilotage.gateway.binary import find_envoy
from pilotage.table.table import Table
from pilotage.xds.bootstrap import build_bootstrap
from pilotage.xds.options import GatewayOptions
from pilotage.xds.server import AdsServer
from tests.support.envoy import static_bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

_AIM: Final = 1.04
_CONNECTIONS: Final = 4
_WARM: Final = 100
_ROUTES: Final = 10
_ASKED: Final = 7
"""The number of the route that is asked."""
_START: Final = 120.0
"""Seconds that an Envoy may take to start under callgrind."""


async def _control(pid: int, *options: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *("callgrind_control", *options, str(pid)), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise SystemExit(f"callgrind_control {' '.join(options)} failed: {said.decode(errors='replace').strip()}")


def _counted(bootstrap: dict[str, Any], folder: Path) -> AbstractAsyncContextManager[int]:
    """Run an Envoy with one worker under callgrind, which counts nothing yet; yield its process ID."""
    (folder / "envoy.json").write_text(json.dumps(bootstrap))
    valgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes")
    envoy = (str(find_envoy()), "-c", f"{folder}/envoy.json", "--concurrency", "1", "--disable-hot-restart")
    return running(folder, *valgrind, f"--callgrind-out-file={folder}/out", *envoy, "-l", "error")


async def _count(pid: int, port: int, folder: Path, requests: int) -> float:
    """Return the instructions of Envoy's worker for each of some requests."""
    async with contextlib.AsyncExitStack() as stack:
        askers = [await stack.enter_async_context(Asker(port)) for _ in range(_CONNECTIONS)]

        async def ask(count: int) -> None:
            for number in range(count):
                if (status := await askers[number % _CONNECTIONS].status(host_of(_ASKED))) != 200:
                    raise SystemExit(f"a request was answered with status {status}")

        await ask(_WARM)
        await _control(pid, "--instr=on")
        await ask(_WARM)
        await _control(pid, "--zero")
        await ask(requests)
        await _control(pid, "--dump")
    dumps = await asyncio.to_thread(lambda: list(folder.glob("out.*")))
    return max(map(_instructions, dumps)) / requests  # the main thread has nothing to do with requests


def _instructions(dump: Path) -> int:
    found = re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.MULTILINE)
    return int(found[1]) if found is not None else 0


async def _bare(folder: Path, upstream: int, requests: int) -> float:
    port = free_port()
    bootstrap = static_bootstrap(port, upstream)
    (endpoint,) = bootstrap["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"]["address"]["socket_address"]["address"] = route(_ASKED, upstream).host
    async with _counted(bootstrap, folder) as pid:
        await answers(port, host_of(_ASKED), folder, _START)
        return await _count(pid, port, folder, requests)


async def _pilotage(folder: Path, upstream: int, requests: int, *, service: bool) -> float:
    port = free_port()
    ads = AdsServer(GatewayOptions(http_address="127.0.0.1", http_port=port))
    address = f"unix:{folder}/xds.sock"
    await ads.start(address)
    try:
        ads.publish(Table(routes(_ROUTES, upstream, service=service), version=1))
        async with _counted(build_bootstrap(address, "bench"), folder) as pid:
            await answers(port, host_of(_ASKED), folder, _START)
            await ads.wait_for_acks()
            return await _count(pid, port, folder, requests)
    finally:
        await ads.close()


async def _run(requests: int) -> None:
    kinds: dict[str, Callable[[Path, int], Any]] = {
        "Envoy with a minimal static configuration": lambda folder, port: _bare(folder, port, requests),
        "pilotage, plain route": lambda folder, port: _pilotage(folder, port, requests, service=False),
        "pilotage, route of a Compose service": lambda folder, port: _pilotage(folder, port, requests, service=True),
    }
    row("one request", "instructions", "against the bare Envoy", "aim")
    row(*["---"] * 4)
    bare = 0.0
    with targets() as port, tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        for number, (kind, measure) in enumerate(kinds.items()):
            folder = Path(temporary) / str(number)
            folder.mkdir(mode=0o700)
            found = await measure(folder, port)
            bare = bare or found
            row(kind, f"{found:,.0f}", f"{found / bare:.3f} times", f"{_AIM}" if number else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=400, help="number of counted requests")
    asked = parser.parse_args()
    if not (shutil.which("valgrind") and shutil.which("callgrind_control")):
        raise SystemExit("This needs valgrind, which counts the instructions: apt-get install valgrind")
    asyncio.run(_run(asked.requests))


if __name__ == "__main__":
    main()
