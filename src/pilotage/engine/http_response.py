"""Represents one HTTP response from an engine: its headers, and its body as it arrives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["EngineResponse"]

_PAUSE_AT: Final = 2**17  # bytes that wait for their reader


class _Source(Protocol):
    """The source of a body."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class EngineResponse:
    """A response whose body is unread. Close it after reading; its connection is reused if the body was complete.

    Args:
        status: status code.
        reason: the reason phrase after the status code.
        headers: by name in lower case.
        source: the source of the body; paused while too much of the body waits for its reader.

    Attributes:
        status, reason, headers: as above.
        on_close: called once by :meth:`close`.

    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str], source: _Source) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.on_close: Callable[[], object] | None = None
        self._source = source
        self._pieces: list[bytes] = []
        self._size = 0
        self._ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def content_length(self) -> int:
        """The announced size of the body in bytes, 0 if it is unknown."""
        return int(self.headers.get("content-length", "0"))

    async def read(self) -> bytes:
        """Wait for the next part of the body and return it; ``b""`` at its end.

        Raises:
            OSError: the connection was lost, or the response was closed.
            NotHTTPError: the body's encoding is broken.

        """
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        part = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        if self._size >= _PAUSE_AT:
            self._source.resume_reading()
        self._size = 0
        return part

    def close(self) -> None:
        """Return the connection for reuse, or close it if the body has not arrived completely. Idempotent."""
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            self.end(ConnectionAbortedError("the response was closed"))
            on_close()

    def feed(self, piece: bytes) -> None:
        """Add a part of the body."""
        if self._size < _PAUSE_AT <= self._size + len(piece):
            self._source.pause_reading()
        self._size += len(piece)
        self._pieces.append(piece)
        self._wake()

    def end(self, error: Exception | None = None) -> None:
        """End the body, unless it has ended. The reader first gets the data that has arrived, then the error."""
        if not self._ended:
            self._ended, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
