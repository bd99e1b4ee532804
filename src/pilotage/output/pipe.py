"""Buffers standard output to a pipe, so that a slow reader does not block a long-running command."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import select
import stat
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import TextIO

__all__ = ["Pipe"]


class Pipe(io.StringIO):
    """Buffers printed text until :meth:`drain` writes it to a pipe, as fast as the pipe's reader reads.

    The descriptor stays in blocking mode because other processes may share it. It is written to only when the system
    reports it writable, and then with no more than the pipe accepts.

    Args:
        fd: the write end of a pipe; this class does not close it.
        encoding: the encoding of the output.

    """

    def __init__(self, fd: int, encoding: str = "utf-8") -> None:
        super().__init__()
        self._fd = fd
        self._encoding = encoding

    @classmethod
    def of(cls, file: TextIO) -> Self | None:
        """Return a buffer for a file that is a pipe; ``None`` for any other file."""
        try:
            fd = file.fileno()
            is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
        except (OSError, ValueError):  # the object has no descriptor
            return None
        return cls(fd, file.encoding) if is_pipe else None

    async def drain(self) -> None:
        """Write everything that was printed to the pipe; return once the pipe has accepted all of it.

        Raises:
            BrokenPipeError: the reader closed the pipe.

        """
        left = memoryview(self.getvalue().encode(self._encoding, "replace"))
        self.seek(0)
        self.truncate()
        while left:
            await self._wait_writable()
            left = left[os.write(self._fd, left[: select.PIPE_BUF]) :]

    async def _wait_writable(self) -> None:
        """Wait until the pipe accepts ``PIPE_BUF`` bytes without blocking."""
        loop = asyncio.get_running_loop()
        writable = asyncio.Event()
        loop.add_writer(self._fd, writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(self._fd)

    @contextlib.asynccontextmanager
    async def while_read(self) -> AsyncGenerator[None, None]:
        """In this context, raise ``BrokenPipeError`` as soon as the reader closes the pipe."""
        loop, closed = asyncio.get_running_loop(), False
        task = asyncio.current_task()

        def on_close() -> None:
            nonlocal closed
            closed = True
            loop.remove_reader(self._fd)
            if task is not None:
                task.cancel()

        loop.add_reader(self._fd, on_close)  # the write end becomes readable only when the read end is closed
        try:
            yield
        except asyncio.CancelledError:
            if not closed:
                raise
        finally:
            loop.remove_reader(self._fd)
        if closed:
            raise BrokenPipeError
