from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.ports import free_port

_ROOT = Path(__file__).parents[2]


def test_test_runs_at_the_same_time_get_different_ports() -> None:
    text = "import sys; from tests.support.ports import free_port; print(*(free_port() for _ in range(600))); input()"
    with subprocess.Popen(
        [sys.executable, "-c", text], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = set(map(int, other.stdout.readline().split()))
        mine = {free_port() for _ in range(600)}
        other.communicate("\n")
    assert len(theirs) > 300
    assert len(mine) > 300
    assert not mine & theirs
