"""How ssh processes end with a program, against a stand-in for ``ssh`` that relays to a fake engine."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest

from pilotage import Pool, new_client
from pilotage.engine.address import Address
from pilotage.engine.diagnosis import DialError
from pilotage.engine.http_stream import HTTPStream
from pilotage.engine.ssh import SSHDialer, _Process
from pilotage.testing import FakeEngine, container
from tests.support.leaks import assert_no_leaks, children

if TYPE_CHECKING:
    from pathlib import Path

# Relays its standard streams to the engine's socket. Exits some time after the stream has ended, as ssh does while it
# waits for the far side; a helper that holds its standard error outlives it, as a master connection does.
SSH = """\
#!{python}
import os, signal, socket, subprocess, sys, threading
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
signal.pause()  # like ssh, it may keep running after its stream has ended, until a signal ends it
"""


def stand_in(folder: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, *, helper: bool = False) -> None:
    """Put the stand-in first into ``PATH``."""
    script = SSH.format(python=sys.executable, path=engine.url.removeprefix("unix://"), helper=helper)
    install(folder, script, monkeypatch)


def install(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a script as ``ssh`` first into ``PATH``."""
    file = folder / "ssh"
    file.write_text(script)
    file.chmod(0o755)
    if not os.environ["PATH"].startswith(f"{folder}:"):
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
        opening = asyncio.create_task(dialer.dial(HTTPStream))
        await asyncio.sleep(0)
        await dialer.close()
        with pytest.raises(ConnectionAbortedError):
            await opening
        assert children() == before


async def test_every_ssh_ends_when_its_dialer_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeEngine() as engine:
        stand_in(tmp_path, engine, monkeypatch)
        before = children()
        dialer = SSHDialer(Address("ssh", host="host"))
        streams = [await dialer.dial(HTTPStream) for _ in range(2)]
        assert len(children()) == len(before) + 2
        await dialer.close()
        assert children() == before
        assert all(stream.closed.done() for stream in streams)


async def test_what_ssh_says_explains_the_loss_of_its_own_stream_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialer = SSHDialer(Address("ssh", host="host"))
    install(tmp_path, "#!/bin/sh\necho 'me@host: Permission denied (publickey).' >&2\nexit 255\n", monkeypatch)
    await (await dialer.dial(HTTPStream)).closed
    found = await dialer.diagnose(ConnectionResetError())
    assert found is not None
    assert found.what == "ssh says: me@host: Permission denied (publickey)."
    assert found.remedy == "`ssh host` must work without a password: set up a key (ssh-copy-id)"
    assert await dialer.diagnose(ValueError()) is None
    assert await dialer.diagnose(DialError()) is None
    async with FakeEngine() as engine:
        stand_in(tmp_path, engine, monkeypatch)
        stream = await dialer.dial(HTTPStream)
        assert await dialer.diagnose(ConnectionResetError()) is None  # it has not ended
        stream.close()
        assert await dialer.diagnose(ConnectionResetError()) is None  # it ended well
    await dialer.close()


@pytest.mark.parametrize("script", ["echo 'a greeting' >&2; exit 0", "exit 255"])
async def test_an_ssh_that_does_not_fail_or_says_nothing_explains_nothing(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialer = SSHDialer(Address("ssh", host="host"))
    install(tmp_path, f"#!/bin/sh\n{script}\n", monkeypatch)
    await (await dialer.dial(HTTPStream)).closed
    assert await dialer.diagnose(ConnectionResetError()) is None
    await dialer.close()


async def test_the_last_four_kilobytes_of_what_ssh_says_are_kept() -> None:
    process = _Process()
    process.pipe_data_received(2, b"a" * 4000)
    process.pipe_data_received(2, b"b" * 4000)
    assert process.output == "a" * 96 + "b" * 4000
    process.pipe_data_received(2, b"\xff" * 5000)
    assert process.output == "\ufffd" * 4096
