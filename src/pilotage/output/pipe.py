"""Standard output into a pipe, for commands that run on: a slow reader does not hold them up."""

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
    """Keeps what is printed until :meth:`drain` hands it over, as fast as its reader takes it.

    The descriptor stays in blocking mode, for others may share it; it is written to only when the system says that it
    takes some, and then no more than that.

    Args:
        fd: the writing end of a pipe; stays its owner's.
        encoding: of what is written.

    """

    def __init__(self, fd: int, encoding: str = "utf-8") -> None:
        super().__init__()
        self._fd = fd
        self._encoding = encoding

    @classmethod
    def of(cls, file: TextIO) -> Self | None:
        """Return one in front of a file that is a pipe, ``None`` for any other."""
        try:
            fd = file.fileno()
            is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
        except (OSError, ValueError):  # it is no file at all
            return None
        return cls(fd, file.encoding) if is_pipe else None

    async def drain(self) -> None:
        """Hand over what was printed; returns when the pipe has taken all of it.

        Raises:
            BrokenPipeError: the reader has gone.

        """
        left = memoryview(self.getvalue().encode(self._encoding, "replace"))
        self.seek(0)
        self.truncate()
        while left:
            await self._takes_some()
            left = left[os.write(self._fd, left[: select.PIPE_BUF]) :]

    async def _takes_some(self) -> None:
        """Wait until the pipe takes ``PIPE_BUF`` bytes without blocking."""
        loop = asyncio.get_running_loop()
        writable = asyncio.Event()
        loop.add_writer(self._fd, writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(self._fd)

    @contextlib.asynccontextmanager
    async def while_read(self) -> AsyncGenerator[None, None]:
        """Raise ``BrokenPipeError`` as soon as nobody reads any more, though there be nothing to write."""
        loop, gone = asyncio.get_running_loop(), False
        task = asyncio.current_task()

        def leave() -> None:
            nonlocal gone
            gone = True
            loop.remove_reader(self._fd)
            if task is not None:
                task.cancel()

        loop.add_reader(self._fd, leave)  # the writing end becomes readable only when the reading end is closed
        try:
            yield
        except asyncio.CancelledError:
            if not gone:
                raise
        finally:
            loop.remove_reader(self._fd)
        if gone:
            raise BrokenPipeError
