"""Printing into a pipe: whole, in order, at the reader's pace, and not for nobody."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pilotage.output.pipe import Pipe
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Ends:
    """A pipe's two ends; the reading one does not block."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.got = b""

    def read(self) -> bytes:
        """Take what there is."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.reading, 65536):
                self.got += chunk
        return self.got

    def stop_reading(self) -> None:
        os.close(self.reading)
        self.reading = -1


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    for fd in (ends.reading, ends.writing):
        if fd >= 0:
            os.close(fd)


LONG = "".join(f"line {number} ü\n" for number in range(50_000))  # ten times what a pipe holds


async def test_a_slow_reader_gets_everything_and_blocks_nothing(ends: Ends) -> None:
    pipe = Pipe(ends.writing)
    print(LONG, end="", file=pipe)
    task = asyncio.create_task(pipe.drain())
    for _ in range(100):
        await asyncio.sleep(0)  # comes back, though the pipe is full long since
    assert not task.done()
    print("more", end="", file=pipe)  # while the first is under way: the next one's
    await until(lambda: ends.read() == LONG.encode())
    await task
    await pipe.drain()
    assert ends.read() == (LONG + "more").encode()
    assert os.get_blocking(ends.writing)


async def test_waiting_for_a_reader_can_be_cancelled(ends: Ends) -> None:
    pipe = Pipe(ends.writing)
    print(LONG, file=pipe)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pipe.drain()


async def test_a_closed_pipe_ends_the_command_even_without_output(ends: Ends) -> None:
    pipe = Pipe(ends.writing)

    async def wait() -> None:
        async with pipe.while_read():
            asyncio.get_running_loop().call_soon(ends.stop_reading)
            await asyncio.Event().wait()

    with pytest.raises(BrokenPipeError):
        async with asyncio.timeout(60):
            await wait()


async def test_a_pipe_closed_in_the_middle_ends_the_command(ends: Ends) -> None:
    pipe = Pipe(ends.writing)
    print(LONG, file=pipe)
    task = asyncio.create_task(pipe.drain())
    await asyncio.sleep(0)
    ends.stop_reading()
    with pytest.raises(BrokenPipeError):
        await task


async def test_cancellation_is_not_a_broken_pipe(ends: Ends) -> None:
    async def reads() -> None:
        async with Pipe(ends.writing).while_read():
            await asyncio.Event().wait()

    task = asyncio.create_task(reads())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_letters_that_the_reader_does_not_know_are_replaced(ends: Ends) -> None:
    pipe = Pipe(ends.writing, "ascii")
    print("→", end="", file=pipe)
    await pipe.drain()
    assert ends.read() == b"?"


def test_only_a_pipe_is_one(ends: Ends) -> None:
    with Path(os.devnull).open("w") as device:
        assert Pipe.of(device) is None
    assert Pipe.of(io.StringIO()) is None
    with os.fdopen(os.dup(ends.writing), "w", encoding="utf-8") as file:
        assert isinstance(Pipe.of(file), Pipe)
