"""Instructions that pilotage executes for a command, for each container of a list and for each event.

    python benchmarks/instructions.py [SOURCES]

Processor time doubles while other programs run; the number of instructions does not. Each measurement runs under
cachegrind, which counts the instructions of a process, but not those of the kernel. What one container or event costs
is the difference between a long and a short run. Results vary by one or two percent. SOURCES is the ``src`` folder of
another checkout to measure.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from corpus import containers, list_body
from list_to_routes import engine_with
from live_table import _containers, _ShuffledEngine
from support import row

from pilotage import DockerProviderConfig, Pool, discover, scan_engine
from pilotage.containers.parse import ContainerParser
from pilotage.discovery.state import EngineState
from pilotage.engine.list_splitter import ListSplitter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

_FEW, _MANY = 300, 900
_FEW_EVENTS, _MANY_EVENTS = 40, 240
_LISTS: Final = 24


# ---- what is measured, each in a process of its own


def scan(count: int) -> None:
    """List an engine's containers and build their routes."""

    async def scan_once(url: str) -> None:
        async with Pool() as pool:
            found = await scan_engine(DockerProviderConfig(url, name="local"), pool=pool)
            assert len(found.containers) == count

    with engine_with(count) as path:
        asyncio.run(scan_once(f"unix://{path}"))


def loads(count: int) -> None:
    """Only parse the JSON of a list, several times."""
    body = Path(os.environ["BENCHMARK_LIST"]).read_bytes()
    for _ in range(count):
        json.loads(body)


def reconcile(lists: int) -> None:
    """Compare lists of the same containers with the known state. The entries' ports change their order."""
    choose, found, bodies = random.Random(1), containers(_FEW), []
    for _ in range(_LISTS):
        for entry in found:
            ports: Any = entry["Ports"]
            start = choose.randrange(len(ports))
            entry["Ports"] = ports[start:] + ports[:start]
        bodies.append(json.dumps(found, separators=(",", ":")).encode())
    state = EngineState(ContainerParser(DockerProviderConfig("unix:///x", name="local"), env={}))
    for body in bodies[:lists]:
        listed = state.diff([])
        splitter = ListSplitter(lambda part, listed=listed: state.diff(part, listed))  # type: ignore[misc]
        splitter.feed(body)
        splitter.finish()
        state.update(listed.changed, fingerprints=listed.fingerprints)


def events(count: int) -> None:
    """Stop and start a container; each time, wait until a subscriber has the change."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_events, args=(theirs,), daemon=True)
    process.start()

    async def follow() -> None:
        async with discover([DockerProviderConfig(ours.recv(), name="one")]) as discovery:
            updates = discovery.subscribe()
            await discovery.ready()
            while "app0" not in updates._delivered.routes:
                await anext(updates)
            for number in range(count):
                os.write(ours.fileno(), b"x")
                while discovery.table.routes["app0"].excluded is not (number % 2 == 0):
                    await anext(updates)

    asyncio.run(follow())
    process.kill()


def _serve_events(orders: Connection) -> None:
    async def serve() -> None:
        async with _ShuffledEngine(_containers(20)) as engine:
            orders.send(engine.url)
            number = 0
            while await asyncio.to_thread(os.read, orders.fileno(), 1):
                (engine.start if number % 2 else engine.die)("app0")
                number += 1

    asyncio.run(serve())


_MEASURED: Final[dict[str, Callable[[int], None]]] = {it.__name__: it for it in (scan, loads, reconcile, events)}


# ---- counting


def _count(*command: str) -> float:
    """Return the thousands of instructions of a Python command whose modules are compiled."""
    subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=False)
    with tempfile.NamedTemporaryFile() as log:
        tool = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
        counting = [*tool, f"--log-file={log.name}", sys.executable, *command]
        subprocess.run(counting, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        found = re.findall(r"I\s+refs:\s+([\d,]+)", Path(log.name).read_text())
    return max(int(text.replace(",", "")) for text in found) / 1000


def _each(what: str, few: int, many: int) -> float:
    return (_count(__file__, what, str(many)) - _count(__file__, what, str(few))) / (many - few)


def _rows() -> Iterator[tuple[str, float]]:
    yield "python -c pass", _count("-c", "pass")
    yield "pilotage --help", _count("-m", "pilotage", "--help")
    with engine_with(1) as path:
        yield "pilotage routes, one container", _count("-m", "pilotage", "routes", "--engine", f"local=unix://{path}")
    yield "json.loads, a container", _each("loads", 2, 22) / _FEW
    yield "list to routes, a container", _each("scan", _FEW, _MANY)
    yield "the second list, an unchanged container", _each("reconcile", 1, 2) / _FEW
    yield "the last lists, an unchanged container", _each("reconcile", _LISTS - 6, _LISTS) / _FEW
    yield "an event", _each("events", _FEW_EVENTS, _MANY_EVENTS)


def main() -> None:
    if len(sys.argv) > 2:
        _MEASURED[sys.argv[1]](int(sys.argv[2]))
        return
    if not shutil.which("valgrind"):
        raise SystemExit("This needs valgrind, which counts the instructions: apt-get install valgrind")
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "list.json"
        body.write_bytes(list_body(_FEW))
        os.environ.update(BENCHMARK_LIST=str(body), PYTHONPYCACHEPREFIX=folder, PYTHONHASHSEED="0")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        if len(sys.argv) > 1:
            os.environ["PYTHONPATH"] = str(Path(sys.argv[1]).resolve())
        row("what", "thousand instructions")
        row("---", "---")
        for what, thousands in _rows():
            row(what, f"{thousands:,.1f}")


if __name__ == "__main__":
    main()
