"""Compare two commits on this machine: the same benchmarks on both, in turn, so that noise meets both alike.

    python benchmarks/compare.py BEFORE [AFTER] [--rounds 3]

AFTER is the checkout as it is unless named. Both run the benchmark scripts and packages of this checkout, so that they
handle the same containers; only ``src`` is each commit's own.
Every number that a script prints is compared with the number at the same place of the other's output: the least of all
rounds before and after, and their ratio. Above 1 the code has become slower, or needs more memory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from support import row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ROOT: Final = Path(__file__).parents[1]
_SCRIPTS: Final = (("list_to_routes.py", "1000", "10000"), ("live_table.py", "100", "1000", "10000"))
_NUMBER: Final = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")


class Number(NamedTuple):
    """A number that a script prints, and its line with ``#`` for the numbers; ``[#]`` is this one."""

    place: str
    value: float


@contextlib.contextmanager
def _checkout(revision: str) -> Iterator[Path]:
    """Check a commit out into a folder of its own; this checkout for an empty name."""
    if not revision:
        yield _ROOT
        return
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        where = str(Path(folder) / "tree")
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", where, revision], cwd=_ROOT, check=True)
        try:
            yield Path(where)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", where], cwd=_ROOT, check=True)


def _numbers(checkout: Path, script: str, *arguments: str) -> list[Number]:
    """Run a benchmark with the sources of a checkout, and return all the numbers that it prints."""
    paths = [str(checkout / "src"), str(_ROOT / "benchmarks"), str(_ROOT)]
    done = subprocess.run(
        [sys.executable, str(_ROOT / "benchmarks" / script), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{script} fails in {checkout}:\n{done.stderr}")
    return [number for line in done.stdout.splitlines() for number in _numbers_of(line)]


def _numbers_of(line: str) -> Iterator[Number]:
    for found in _NUMBER.finditer(line):
        around = (_NUMBER.sub("#", part) for part in (line[: found.start()], line[found.end() :]))
        yield Number("[#]".join(around).strip(), float(found.group().replace(",", "")))


def _compare(script: str, before: Sequence[list[Number]], after: Sequence[list[Number]]) -> None:
    lengths = {len(numbers) for numbers in (*before, *after)}
    if len(lengths) != 1:
        raise SystemExit(f"{script} prints different numbers of numbers: {sorted(lengths)}")
    for numbers in zip(*before, *after, strict=True):
        old = [number.value for number in numbers[: len(before)]]
        new = [number.value for number in numbers[len(before) :]]
        if len({*old, *new}) > 1:  # others are counts and aims
            low, high = min(old), min(new)
            row(numbers[-1].place, f"{low:g}", f"{high:g}", f"{high / low:.2f}" if low else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("before")
    parser.add_argument("after", nargs="?", default="")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    row("what", "before", "after", "ratio")
    row(*["---"] * 4)
    with _checkout(given.before) as old, _checkout(given.after) as new:
        for script, *arguments in _SCRIPTS:
            before, after = [], []
            for _ in range(given.rounds):
                before.append(_numbers(old, script, *arguments))
                after.append(_numbers(new, script, *arguments))
            _compare(script, before, after)


if __name__ == "__main__":
    main()
