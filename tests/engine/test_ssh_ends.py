"""How ssh processes end with a program, against a stand-in for ``ssh`` that relays to a fake engine."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest

from pilotage import Pool, new_client
from pilotage.engine.address import Address
from pilotage.engine.ssh import SSHDialer
from pilotage.testing import FakeEngine, container
from tests.support.leaks import assert_no_leaks, children

if TYPE_CHECKING:
    from pathlib import Path

# Relays its standard streams to the engine's socket. Exits some time after the stream has ended, as ssh does while it
# waits for the far side; a helper that holds its standard error outlives it, as a master connection does.
SSH = """\
#!{python}
import os, socket, subprocess, sys, threading, time
if {helper}:
    subprocess.Popen(["sleep", "2"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
far = socket.socket(socket.AF_UNIX)
far.connect({path!r})
def back():
    while data := far.recv(65536):
        os.write(1, data)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 65536):
    far.sendall(data)
time.sleep(0.3)
"""


def stand_in(folder: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, *, helper: bool = False) -> None:
    """Put the stand-in first into ``PATH``."""
    file = folder / "ssh"
    file.write_text(SSH.format(python=sys.executable, path=engine.url.removeprefix("unix://"), helper=helper))
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(("command", "helper"), [("routes", False), ("engines", False), ("capture", True)])
async def test_a_command_over_ssh_ends_without_a_word_about_its_event_loop(
    command: str, helper: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeEngine([container("web", ports=(80,))]) as engine:
        stand_in(tmp_path, engine, monkeypatch, helper=helper)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "dev", "-m", "pilotage", command, "--engine", "far=ssh://host"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode == 0
    assert b"far" in out
    assert b"Exception" not in err
    assert b"Warning" not in err


async def test_cancelling_every_task_still_ends_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeEngine() as engine:
        stand_in(tmp_path, engine, monkeypatch)
        before = children()
        async with assert_no_leaks(), Pool() as pool, new_client("ssh://host", pool=pool) as client:
            await client.ping()
            assert len(children()) == len(before) + 1
            for task in asyncio.all_tasks():
                if "_supervise" in repr(task):
                    task.cancel()
        assert children() == before


async def test_a_stream_that_opens_after_closing_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeEngine() as engine:
        stand_in(tmp_path, engine, monkeypatch)
        before = children()
        dialer = SSHDialer(Address("ssh", host="host"))
        opening = asyncio.create_task(dialer.dial(asyncio.Protocol))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await dialer.close()
        with pytest.raises(ConnectionAbortedError):
            await opening
        assert children() == before
