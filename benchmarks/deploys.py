"""Requests that fail during deployments, while containers, engine, daemon and Envoy come and go.

    python benchmarks/deploys.py [--times 20] [--burn] [SCENARIO …]

It starts a real engine, ``pilotage serve`` with its Envoy, and a process that sends 200 requests per second, half over
reused and half over new connections.

Scenarios: replace, replace-deaf, replace-plain, scale, recreate, engine, daemon, envoy, long.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support import deployments
from tests.support.engines import Engine, own_docker
from tests.support.load import Answer, failures, percentiles, silences

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator


async def _replace_deaf(engine: Engine, folder: Path, times: int) -> list[Answer]:
    return await deployments.replaced(engine, folder, times, end=deployments.DEAF)


async def _replace_plain(engine: Engine, folder: Path, times: int) -> list[Answer]:
    return await deployments.replaced(engine, folder, times, compose=False)


async def _long(engine: Engine, folder: Path, _times: int) -> list[Answer]:
    lasting, answers = await deployments.long_requests(engine, folder)
    print(
        f"  {lasting.open} WebSockets: {lasting.heard} of {lasting.said} came back; a download: {lasting.lines} lines"
        f"{', and its end' if lasting.whole else ', cut off'}; {lasting.changes} changes of other routes"
    )
    return answers


_SCENARIOS: Final[dict[str, tuple[str, Callable[[Engine, Path, int], Coroutine[Any, Any, list[Answer]]]]]] = {
    "replace": ("one container is replaced, the new one first", deployments.replaced),
    "replace-deaf": ("the same; the old one leaves its socket open", _replace_deaf),
    "replace-plain": ("two containers that want one alias", _replace_plain),
    "scale": ("scaling from three to one and back", deployments.scaled),
    "recreate": ("stopped, and started 1 s later, with hold: 5s", deployments.recreated),
    "engine": ("the engine is restarted (live-restore)", deployments.engine_restarted),
    "daemon": ("pilotage is restarted; an Envoy of the fleet", deployments.daemon_restarted),
    "envoy": ("Envoy is killed", deployments.envoy_killed),
    "long": ("1,000 changes of other routes", _long),
}


def _spin() -> None:
    while True:
        pass


@contextlib.contextmanager
def _burning(count: int) -> Iterator[None]:
    """Keep this many processors busy."""
    spinning = [multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(count)]
    for process in spinning:
        process.start()
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.join()


def _row(*cells: Any) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _print(name: str, times: int, answers: list[Answer]) -> None:
    failed = failures(answers)
    median, most, longest = (f"{took * 1e3:,.1f} ms" for took in percentiles(answers))
    kinds = ", ".join(f"{count} {kind}" for kind, count in failed.most_common())
    told = f"{failed.total()} ({kinds})" if failed else 0
    print(_row(_SCENARIOS[name][0], times, f"{len(answers):,}", told, median, most, longest))
    gaps = silences(answers)
    if gaps:
        lengths = sorted(length for _, length in gaps)
        print(f"  failures came {len(gaps)} times, for {lengths[0]:.2f} to {lengths[-1]:.2f} s")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", choices=[[], *_SCENARIOS])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--burn", action="store_true", help="keep all processors busy during the scenarios")
    parser.add_argument("--keep", type=Path, help="folder to keep logs and responses in")
    asked = parser.parse_args()
    print(_row("what happens", "times", "requests", "failed", "p50", "p99", "longest"))
    print(_row(*["---"] * 7))
    with tempfile.TemporaryDirectory(prefix="deploys-") as temporary:
        engine = own_docker(options=deployments.LIVE_RESTORE)
        try:
            for name in asked.scenarios or _SCENARIOS:
                folder = (asked.keep or Path(temporary)) / name
                folder.mkdir(parents=True)
                with _burning(os.cpu_count() or 1) if asked.burn else contextlib.nullcontext(), engine.scope():
                    answers = asyncio.run(_SCENARIOS[name][1](engine, folder, asked.times))
                _print(name, 1 if name == "long" else asked.times, answers)
                if asked.keep:
                    lines = (f"{a.at:.3f} {a.took * 1e3:.1f} {a.what} {a.by}\n" for a in answers)
                    (folder / "answers").write_text("".join(lines))
        finally:
            engine.close()


if __name__ == "__main__":
    main()
