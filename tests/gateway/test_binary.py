from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import GatewayError
from pilotage.gateway.binary import die_with_parent, find_envoy
from tests.support.waiting import alive, until

if TYPE_CHECKING:
    from pathlib import Path


def test_the_binary_comes_from_the_wheel_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_envoy().name == "envoy"
    said = subprocess.run([find_envoy(), "--version"], capture_output=True, text=True, check=True, timeout=20)
    assert "/1.40." in said.stdout
    own = tmp_path / "my-envoy"
    own.write_text("")
    with pytest.raises(GatewayError, match=r"my-envoy was not found or is not executable; check gateway\.envoy"):
        find_envoy(str(own))
    own.chmod(0o755)
    assert find_envoy(str(own)) == own
    monkeypatch.setattr("importlib.metadata.distribution", _missing)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GatewayError, match=r"Envoy is not installed; .*pilotage\[gateway\]"):
        find_envoy()
    own.rename(tmp_path / "envoy")
    assert find_envoy() == tmp_path / "envoy"


def _missing(name: str) -> None:
    import importlib.metadata

    raise importlib.metadata.PackageNotFoundError(name)


async def test_a_child_dies_with_its_parent() -> None:
    program = f"""
import subprocess
from pilotage.gateway.binary import die_with_parent
program = "import signal; print('up', flush=True); signal.pause()"
child = subprocess.Popen(die_with_parent([{sys.executable!r}, "-c", program]))
print(child.pid, flush=True)
child.wait()
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    said = {(await parent.stdout.readline()).strip(), (await parent.stdout.readline()).strip()}
    child = int(next(iter(said - {b"up"})))
    try:
        assert alive(child)
        parent.kill()
        await parent.wait()
        await until(lambda: not alive(child))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def test_a_child_whose_parent_already_died_does_not_start() -> None:
    command = die_with_parent([sys.executable, "-c", "print('begun')"])
    ours = command.index(str(os.getpid()))
    orphan = [*command[:ours], "1", *command[ours + 1 :]]
    done = subprocess.run(orphan, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_child_keeps_its_process_id_and_arguments() -> None:
    child = subprocess.Popen(
        die_with_parent([sys.executable, "-c", "import os, sys; print(os.getpid(), *sys.argv[1:])", "-c", "a b"]),
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = child.communicate(timeout=20)
    assert out == f"{child.pid} -c a b\n"
