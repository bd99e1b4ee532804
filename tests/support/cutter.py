"""A unix socket in front of an engine's socket; its connections can be cut, delayed and counted."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Cutter"]

_CHUNK = 65536


class Cutter:
    """Forwards connections byte for byte until they are cut: ``async with Cutter(path, target) as cutter``.

    Attributes:
        url: where it listens.
        passed: number of connections so far.

    """

    def __init__(self, path: Path, target: str) -> None:
        self.url = f"unix://{path}"
        self.passed = 0
        self._path = path
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._accept, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Cut every connection."""
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.passed += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        ends = [writer]
        with contextlib.suppress(OSError, asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_unix_connection(self._target)
            ends.append(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(reader, far_writer))
                group.create_task(_pass(far_reader, writer))
        for end in ends:
            end.transport.abort()


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(_CHUNK):
            sink.write(chunk)
            await sink.drain()
        sink.write_eof()
