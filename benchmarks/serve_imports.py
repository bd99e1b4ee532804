"""What ``pilotage serve`` imports until it serves its first table, without and with automatic certificates.

    python benchmarks/serve_imports.py [--times 5]

It starts a fake engine and ``pilotage serve --no-gateway`` with Python's ``-X importtime``, and counts the imported
modules. Then it starts it again without that option, and prints the processor time until the first table is served:
the median and all results.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from support import row

sys.path.insert(0, str(Path(__file__).parents[1]))

from pilotage.testing import FakeEngine
from tests.support.daemon_process import Served

_LIBRARIES: Final = ("acme", "josepy", "lexicon", "dns", "requests", "cryptography", "OpenSSL")
_IMPORT: Final = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)


def _processor_time(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _start(configuration: dict[str, Any], *program: str) -> tuple[float, set[str]]:
    """Start it; return the seconds of processor time until it serves, and the imported modules if they are printed."""
    with tempfile.TemporaryDirectory(prefix="imports-") as folder:
        served = Served(Path(folder), 0, configuration, "--no-gateway", program=(*program, "-m", "pilotage"))
        await served.start()
        took = _processor_time(served.pid)
        await served.stop()
        return took, set(_IMPORT.findall(served.log))


async def _run(times: int) -> None:
    row("autocert", "modules", "pilotage.certificates", "libraries for it", "processor time, s")
    row(*["---"] * 5)
    async with FakeEngine() as engine:
        engine.add("shop")
        plain: dict[str, Any] = {"providers": {"docker": {"local": engine.url}}}
        with tempfile.TemporaryDirectory(prefix="imports-") as folder:
            internal = {"provider": "internal", "domains": "auto", "folder": folder}
            for name, configuration in (("no", plain), ("internal CA", plain | {"autocert": internal})):
                _, modules = await _start(configuration, "-X", "importtime")
                took = sorted([(await _start(configuration))[0] for _ in range(times)])
                ours = sorted(it.rpartition(".")[2] for it in modules if it.startswith("pilotage.certificates."))
                libraries = sum(it.partition(".")[0] in _LIBRARIES for it in modules)
                each = ", ".join(f"{seconds:.2f}" for seconds in took)
                row(name, len(modules), ", ".join(ours), libraries, f"{statistics.median(took):.2f} ({each})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=5, help="how often the processor time is measured")
    asyncio.run(_run(parser.parse_args().times))


if __name__ == "__main__":
    main()
