"""Processor time of commands: `--help`, `routes` for one container, and `routes --format json` per container.

    python benchmarks/commands.py

Each command is a process of its own, run several times; the least time counts. "Beyond the library" is what the command
needs more than a program that scans the engine and builds the table. All use compiled modules, as an installed pilotage
does, even if PYTHONDONTWRITEBYTECODE is set: compiling them at each start would take longer than everything else.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile

from list_to_routes import engine_with
from support import row

_RUNS = 9
_MANY = 5_000
_LIBRARY = """
import asyncio, sys
from pilotage import DockerProviderConfig, Pool, build_table, scan_engine

async def main():
    async with Pool() as pool:
        return build_table([await scan_engine(DockerProviderConfig(sys.argv[1], name="local"), pool=pool)])

asyncio.run(main())
"""


def _cpu_time(*command: str) -> float:
    """Return the least processor time of a command, in seconds. The first run compiles the modules."""
    spent = []
    for _ in range(_RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def _with_containers(count: int) -> tuple[float, float, float]:
    """Return the times of ``routes``, ``routes --format json`` and the library alone."""
    with engine_with(count) as path:
        command = ("-m", "pilotage", "routes", "--engine", f"local=unix://{path}")
        text, json = _cpu_time(*command), _cpu_time(*command, "--format", "json")
        library = _cpu_time("-c", _LIBRARY, f"unix://{path}")
    return text, json, library


def main() -> None:
    with tempfile.TemporaryDirectory() as compiled:
        os.environ["PYTHONPYCACHEPREFIX"] = compiled
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        _measure_all()


def _measure_all() -> None:
    row("what", "measured", "aim")
    row("---", "---", "---")
    row("python -c pass", f"{_cpu_time('-c', 'pass'):.3f} s", "")
    row("pilotage --help", f"{_cpu_time('-m', 'pilotage', '--help'):.3f} s", "0.1 s")
    one, json_of_one, library_of_one = _with_containers(1)
    _, json, library = _with_containers(_MANY)
    row("pilotage routes, one container", f"{one:.3f} s", "0.4 s")
    beyond = (json - json_of_one - (library - library_of_one)) / (_MANY - 1)
    row("pilotage routes --format json, a container, beyond the library", f"{beyond * 1e6:.0f} µs", "25 µs")


if __name__ == "__main__":
    main()
