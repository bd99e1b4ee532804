from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from pilotage.gateway.processes import UNKNOWN_STATUS, PidfdProcess, boot_id, start_time

pytestmark = pytest.mark.process

_CHILD = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"]
"""Lives until it is killed, or its standard input is closed because the test has ended."""


def opened(pid: int, started: int = 0) -> PidfdProcess:
    process = PidfdProcess.open(pid, started)
    assert process is not None
    return process


def test_a_process_with_another_start_time_is_another_process() -> None:
    with subprocess.Popen(_CHILD, stdin=subprocess.PIPE) as child:
        began = start_time(child.pid)
        assert began > 0
        assert PidfdProcess.open(child.pid, began + 1) is None
        opened(child.pid, began).kill()
    assert child.returncode == -signal.SIGKILL


async def test_the_end_of_a_child_is_awaited_with_its_status() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb"):  # noqa: ASYNC230, PTH123  # descriptors
        actions = [(os.POSIX_SPAWN_DUP2, reading, 0)]
        pid = os.posix_spawn(_CHILD[0], _CHILD, os.environ, file_actions=actions)  # noqa: ASYNC221  # it must be a child
        process = opened(pid)
        process.terminate()
        assert tuple(await asyncio.gather(process.wait(), process.wait())) == (-signal.SIGTERM, -signal.SIGTERM)
        assert await process.wait() == process.returncode
        process.kill()  # has no effect, whoever has the ID now


async def test_the_status_of_another_processs_child_is_unknown() -> None:
    program = (
        f"import os, sys; print(os.posix_spawn({_CHILD[0]!r}, {_CHILD!r}, os.environ), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        process = opened(pid, start_time(pid))
        parent.kill()
        process.kill()
        assert await process.wait() == UNKNOWN_STATUS


@pytest.mark.parametrize("pid", [0, -1, 1 << 40])
def test_what_is_no_process_id_opens_nothing(pid: int) -> None:
    assert PidfdProcess.open(pid) is None
    assert start_time(pid) == 0


def test_the_boot_has_an_id() -> None:
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()
