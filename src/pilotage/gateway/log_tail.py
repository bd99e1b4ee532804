"""Reads the log of an Envoy that outlives pilotage from a file, and its access log from a pipe.

A kept Envoy outlives the process that reads its logs, and must neither exit nor block when no process reads them. Envoy
appends its log to a file, which the reader empties. Envoy writes its access log to a pipe, which Envoy itself keeps
open. Writing to this pipe never blocks: lines that do not fit are lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["LogTail", "make_pipe", "relay_output"]

_INTERVAL: Final = 0.2
_CHUNK: Final = 64 * 1024
_LARGEST: Final = 1 << 20
"""Size in bytes beyond which the file is emptied, once everything in it has been read. Also the size of the pipe."""


class LogTail:
    """Follows a file to which another process appends lines, and empties the file once it has grown large.

    Args:
        file: path of the file.
        handle: called with each line. A line longer than a megabyte is passed on in parts.

    """

    def __init__(self, file: Path, handle: Callable[[str], object]) -> None:
        self._file = file
        self._handle = handle
        self._position = 0
        self._rest = b""

    async def run(self) -> None:
        """Read the file regularly until cancelled."""
        while True:
            self.read()
            await asyncio.sleep(_INTERVAL)

    def read(self) -> None:
        """Handle the lines appended since the last call, at most a megabyte."""
        with contextlib.suppress(OSError), self._file.open("r+b") as file:
            if os.fstat(file.fileno()).st_size < self._position:
                self._position = 0  # somebody has emptied it
            file.seek(self._position)
            new = file.read(_LARGEST)
            self._position += len(new)
            if self._position > _LARGEST and os.fstat(file.fileno()).st_size == self._position:
                file.truncate(0)  # the writer appends, so its next line is at the start
                self._position = 0
            *lines, self._rest = (self._rest + new).split(b"\n")
            if len(self._rest) > _LARGEST:
                lines, self._rest = [*lines, self._rest], b""
            for line in lines:
                self._handle(line.decode(errors="replace").rstrip("\r"))


def make_pipe(path: Path) -> None:
    """Make a named pipe, unless it exists.

    Raises:
        OSError: the pipe cannot be made or opened.

    """
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    with contextlib.suppress(OSError, AttributeError):
        # Refused if privileges are needed for this size. The pipe keeps its size until no process has it open.
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _LARGEST)
    os.close(descriptor)


def relay_output(path: Path, target: int = 1) -> None:
    """Copy the content of a named pipe to the descriptor ``target``, in a thread that ends with this process.

    Many lines are copied at once, so copying costs next to nothing per request. Output that cannot be written, because
    the target is closed, is dropped.

    Raises:
        OSError: the pipe cannot be opened.

    """
    source = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # also as a writer, so that it never reaches its end

    def copy() -> None:
        while data := os.read(source, _CHUNK):
            with contextlib.suppress(OSError):
                while data:
                    data = data[os.write(target, data) :]

    threading.Thread(target=copy, name="output of Envoy", daemon=True).start()
