"""The worked examples of CONTRIBUTING.md hold: each change applies to the sources, and its test passes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLE = re.compile(
    r"^### (.+?)\n.*?^```diff\n(.*?)^```\n\n```sh\n\.venv/bin/python (.+?)\n```", re.MULTILINE | re.DOTALL
)


class Hunk(NamedTuple):
    """One change of one file: the lines that are there, and those to put in their place."""

    file: str
    before: str
    after: str


def hunks(diff: str) -> list[Hunk]:
    found = []
    for part in re.split(r"^--- ", diff, flags=re.MULTILINE)[1:]:
        file, *lines = part.splitlines()
        before = [line[1:] for line in lines if not line.startswith("+")]
        after = [line[1:] for line in lines if not line.startswith("-")]
        found.append(Hunk(file, "\n".join(before), "\n".join(after)))
    return found


def apply(hunk: Hunk, root: Path) -> None:
    """Change a file; lines without a place go to its end, and a file that is not there is made."""
    path = root / hunk.file
    text = path.read_text() if path.exists() else ""
    if hunk.before:
        before, after = f"\n{hunk.before}\n", f"\n{hunk.after}\n"
        assert text.count(before) == 1, f"CONTRIBUTING.md: {hunk.file} has no single place like\n{hunk.before}"
        text = text.replace(before, after)
    else:
        text += f"{hunk.after}\n"
    path.write_text(text)


EXAMPLES = {title: (hunks(diff), command) for title, diff, command in EXAMPLE.findall(PAGE)}


def test_there_is_an_example_for_each_common_change() -> None:
    assert len(EXAMPLES) == PAGE.count("```diff") == 5


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("title", EXAMPLES)
def test_the_example_applies_and_its_test_passes(title: str, tmp_path: Path) -> None:
    changes, command = EXAMPLES[title]
    ignored = shutil.ignore_patterns("__pycache__", "__snapshots__")
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for hunk in changes:
        apply(hunk, tmp_path)
    # The copy must not be measured: coverage would count its files as further, mostly unused sources.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    environment = inherited | {"PYTHONPATH": str(tmp_path / "src")}
    done = subprocess.run(
        [sys.executable, *shlex.split(command), "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
