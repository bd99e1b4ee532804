from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from pilotage.gateway.log_tail import LogTail, make_pipe, relay_output
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


def test_lines_are_read_once_and_only_when_they_are_complete(tmp_path: Path) -> None:
    lines: list[str] = []
    tail = LogTail(tmp_path / "log", lines.append)
    tail.read()  # the file does not exist yet
    with (tmp_path / "log").open("ab", buffering=0) as log:
        log.write(b"one\ntw")
        tail.read()
        assert lines == ["one"]
        log.write(b"o\r\n\xff\n")
        tail.read()
    assert lines == ["one", "two", "\ufffd"]


def test_a_long_file_is_emptied_once_it_has_been_read(tmp_path: Path) -> None:
    lines: list[str] = []
    tail = LogTail(tmp_path / "log", lines.append)
    with (tmp_path / "log").open("ab", buffering=0) as log:
        log.write((b"x" * 1023 + b"\n") * 1500)
        tail.read()
        tail.read()
        assert len(lines) == 1500
        assert (tmp_path / "log").stat().st_size == 0
        log.write(b"after\n")
        tail.read()
    assert lines[-1] == "after"


def test_a_line_without_end_does_not_grow_without_limit(tmp_path: Path) -> None:
    lines: list[str] = []
    tail = LogTail(tmp_path / "log", lines.append)
    (tmp_path / "log").write_bytes(b"x" * (3 << 20))
    for _ in range(4):
        tail.read()
    assert sum(map(len, lines)) >= 2 << 20


async def test_a_file_is_followed(tmp_path: Path) -> None:
    lines: list[str] = []
    following = asyncio.create_task(LogTail(tmp_path / "log", lines.append).run())
    (tmp_path / "log").write_bytes(b"one\n")
    await until(lambda: lines == ["one"])
    following.cancel()


def test_a_pipe_without_a_reader_does_not_block(tmp_path: Path) -> None:
    make_pipe(tmp_path / "out")
    make_pipe(tmp_path / "out")
    writer = os.open(tmp_path / "out", os.O_RDWR | os.O_NONBLOCK)
    written = 0
    try:
        while written < 8 << 20:
            written += os.write(writer, b"x" * 4096)
    except BlockingIOError:
        pass
    os.close(writer)
    assert 4096 <= written < 8 << 20


async def test_output_is_copied_and_a_closed_target_drops_it(tmp_path: Path) -> None:
    make_pipe(tmp_path / "out")
    read, write = os.pipe()
    relay_output(tmp_path / "out", write)
    (tmp_path / "out").write_bytes(b"hello\n")
    assert await asyncio.to_thread(os.read, read, 100) == b"hello\n"
    os.close(read)
    with (tmp_path / "out").open("wb", buffering=0) as out:
        for _ in range(100):  # more than the pipe holds, so the copy goes on
            out.write(b"x" * 65536)
    os.close(write)
