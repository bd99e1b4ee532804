from __future__ import annotations

import asyncio
import fcntl
import json
import signal
import struct
import termios
from typing import TYPE_CHECKING

import pytest

from pilotage.testing import FakeEngine, container
from tests.support.commandline import a_process
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.engines import Engine

pytestmark = pytest.mark.process


def test_an_interrupted_watch_ends_with_130(engine: Engine) -> None:
    engine.run("watched", labels={"proxy.watched.port": "80"})
    with a_process("watch", "--engine", f"own={engine.host}", "--format", "json") as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        next(said for line in lines if (said := json.loads(line))["alias"] == "watched")
        engine.rm("watched")
        gone = next(said for line in lines if (said := json.loads(line))["kind"] == "removed")
        assert gone["alias"] == "watched"
        assert gone["cause"] in {"destroy of watched", "network disconnect"}  # it is gone for the list after either
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err.strip()) == (130, "")


@pytest.mark.parametrize("args", [["watch"], ["routes", "--watch"]])
async def test_a_closed_pipe_ends_it_with_141_even_without_changes(
    args: list[str],
) -> None:
    async with FakeEngine([container("web", labels={"proxy.web.port": "80"})]) as engine:
        process = a_process(*args, "--engine", f"own={engine.url}", stderr=None)
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)
        process.stdout.close()
        assert await asyncio.to_thread(process.wait, 30) == 141


@pytest.mark.parametrize("args", [["watch", "--format", "json"], ["routes", "--watch"]])
async def test_a_reader_that_does_not_read_holds_up_neither_the_watching_nor_its_end(args: list[str]) -> None:
    many = [container(f"web-{number}", labels={f"proxy.web-{number}.prot": "80"}) for number in range(600)]
    async with FakeEngine(many) as engine:
        with a_process(*args, "--engine", f"own={engine.url}", stderr=None) as process:
            assert process.stdout is not None
            fd = process.stdout.fileno()
            await until(lambda: _held(fd) > 60_000)  # as full as it gets
            before = engine.calls["list:id"]
            engine.start(engine.add(container("late")))
            await until(lambda: engine.calls["list:id"] > before)  # it has heard of it, and asks
            process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(process.wait, 30) == 130


def _held(fd: int) -> int:
    """Return how many bytes a pipe holds."""
    (number,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    assert isinstance(number, int)
    return number
