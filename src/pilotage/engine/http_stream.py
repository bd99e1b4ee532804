"""Reads HTTP/1.1 responses from one connection, strictly: no redirects, upgrades or compression.

A general-purpose HTTP client needs several times as much CPU time for a request, and is slow to import.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final, cast

from pilotage.engine.http_response import EngineResponse

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CutShortError", "DisconnectedError", "HTTPStream", "NotHTTPError"]

_READ_SIZE: Final = 2**16  # bytes; asyncio's 2**18 would have malloc map and unmap memory for each read
_HEAD_LIMIT: Final = 2**16  # bytes
_LINE_LIMIT: Final = 2**12  # bytes between chunks
_MOST_PARTS: Final = 2**13  # parts that one read may return; an event is one chunk, which is parsed as three parts
_MOST_EXTRAS: Final = 20
_BEGIN: Final = b"HTTP/1."
_STATUS: Final = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([^\r\n\0]*))?")
_FIELDS: Final = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\r\n\0]*+\r\n)*+")  # headers
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,15}")


class NotHTTPError(Exception):
    """The response is not HTTP, or is HTTP that no engine sends. The argument is the start of the response."""


class DisconnectedError(ConnectionError):
    """The connection was closed before the response's headers had arrived."""


class CutShortError(OSError):
    """The connection was lost before the whole body had arrived. ``__cause__`` is the system's error, if any."""


class HTTPStream(asyncio.Protocol):
    """One connection. It carries one request at a time.

    Attributes:
        transport: the connection.
        is_reusable: whether the connection can carry another request now.
        closed: a future that is done once the connection is closed.

    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.is_reusable = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head: asyncio.Future[EngineResponse] | None = None  # the current request's response, until it arrives
        self._response: EngineResponse | None = None
        self._is_head = False
        self._keep_alive = False
        self._extras = 0  # informational responses and trailers of the current request
        self._left = 0  # bytes of the body or of its current chunk that have not arrived
        self._rest = b""  # received, but too short to be parsed
        self._parse: Callable[[bytes, int], int] = self._parse_head

    async def request(self, request: bytes) -> EngineResponse:
        """Send a request; return once the response's headers have arrived.

        Raises:
            OSError: the connection was lost.
            NotHTTPError: the response is not HTTP.

        """
        if self.closed.done():
            raise DisconnectedError
        self.is_reusable = False
        self._is_head = request.startswith(b"HEAD ")
        self._extras = 0
        self._head = self.closed.get_loop().create_future()
        self.transport.write(request)
        return await self._head

    def close(self) -> None:
        """Close the connection."""
        self.is_reusable = False
        if self.transport.get_extra_info("sslcontext") is not None:
            self.transport.abort()  # close() would wait for the engine to end TLS; the loop may end first
        else:
            self.transport.close()

    # ---- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport. If it is asyncio's own, let it read fewer bytes at a time."""
        self.transport = cast("asyncio.Transport", transport)
        if hasattr(transport, "max_size"):  # not with TLS, which has a small buffer
            transport.max_size = _READ_SIZE

    def connection_lost(self, exc: Exception | None) -> None:
        """End the current response, with an error unless the end of the connection marks the end of its body."""
        self.is_reusable = False
        if self._parse == self._parse_to_end and exc is None:
            self._end()
        self._fail(exc or DisconnectedError(), exc)
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Parse the received data."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        try:
            self._rest = data[self._parse_all(data) :]
        except NotHTTPError as error:
            self._fail(error, error)
            self.close()

    def _parse_all(self, data: bytes) -> int:
        """Parse as much as possible. Return the index at which the unparsed rest begins."""
        at = 0
        for _ in range(_MOST_PARTS):
            end = self._parse(data, at)
            if end in (at, len(data)):  # without progress, more data has to arrive
                return end
            at = end
        raise NotHTTPError(data[at : at + 16])

    def _fail(self, error: Exception, cause: Exception | None) -> None:
        if self._head is not None and not self._head.done():
            self._head.set_exception(error)
        if self._response is not None:
            cut_short = CutShortError()
            cut_short.__cause__ = cause
            self._response.end(cause if isinstance(cause, NotHTTPError) else cut_short)

    # ---- each method parses the next part of `data` and returns its end, or `at` if the part has not fully arrived

    def _parse_head(self, data: bytes, at: int) -> int:
        if self._head is None or not data.startswith(_BEGIN[: len(data) - at], at):
            raise NotHTTPError(data[at : at + 16])
        end = data.find(b"\r\n\r\n", at)
        if end < 0 and len(data) - at <= _HEAD_LIMIT:
            return at
        first, _, rest = data[at : max(end + 2, at)].decode("latin-1").partition("\r\n")
        status = _STATUS.fullmatch(first)
        if status is None or end - at > _HEAD_LIMIT or not _FIELDS.fullmatch(rest):
            raise NotHTTPError(data[at : at + 16])
        headers: dict[str, str] = {}
        for line in rest.split("\r\n")[:-1]:
            name, _, text = line.partition(":")
            name, text = name.lower(), text.strip(" \t")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        if status[2][0] != "1":
            self._keep_alive = status[1] == "1" and "close" not in headers.get("connection", "").lower()
            self._begin(EngineResponse(int(status[2]), status[3] or "", headers, self.transport))
        else:
            self._count_extra()
        return end + 4

    def _count_extra(self) -> None:
        self._extras += 1
        if self._extras > _MOST_EXTRAS:
            raise NotHTTPError(_BEGIN)

    def _begin(self, response: EngineResponse) -> None:
        """Find out how the body ends (RFC 9112, 6.3), and deliver the response."""
        length, encoding = response.headers.get("content-length", ""), response.headers.get("transfer-encoding", "")
        if (length and not _LENGTH.fullmatch(length)) or encoding.lower() not in {"", "chunked"}:
            raise NotHTTPError(_BEGIN)
        head, self._head, self._response = self._head, None, response
        if head is not None and not head.done():
            head.set_result(response)
        self._left = int(length or "0")
        self._parse = self._parse_length
        if self._is_head or response.status in {204, 304} or (length and not self._left and not encoding):
            self._end()
        elif encoding:
            self._parse = self._parse_chunk_size
        elif not length:
            self._parse = self._parse_to_end

    def _end(self) -> None:
        """End the body. The connection can carry another request, unless the engine is going to close it."""
        self._parse = self._parse_head
        self.is_reusable = self._keep_alive and not self.transport.is_closing()
        if self._response is not None:
            self._response.end()

    def _parse_to_end(self, data: bytes, at: int) -> int:
        self._keep_alive = False
        return self._feed(data, at, len(data))

    def _parse_length(self, data: bytes, at: int) -> int:
        end = self._feed(data, at, min(at + self._left, len(data)))
        if not self._left:
            self._end()
        return end

    def _parse_chunk_size(self, data: bytes, at: int) -> int:
        end = self._line_end(data, at)
        if end > at:
            size = data[at : end - 2].partition(b";")[0].rstrip()
            if not _CHUNK_SIZE.fullmatch(size):
                raise NotHTTPError(data[at : at + 16])
            self._left = int(size, 16)
            self._parse = self._parse_chunk if self._left else self._parse_trailer
        return end

    def _parse_chunk(self, data: bytes, at: int) -> int:
        end = self._feed(data, at, min(at + self._left, len(data)))
        if not self._left:
            self._parse = self._parse_chunk_end
        return end

    def _parse_chunk_end(self, data: bytes, at: int) -> int:
        end = self._line_end(data, at)
        if end > at + 2 or (end == at and len(data) - at >= 2):
            raise NotHTTPError(data[at : at + 16])
        if end > at:
            self._parse = self._parse_chunk_size
        return end

    def _parse_trailer(self, data: bytes, at: int) -> int:
        end = self._line_end(data, at)
        if end == at + 2:
            self._end()
        elif end > at:
            self._count_extra()
        return end

    def _feed(self, data: bytes, at: int, end: int) -> int:
        self._left -= end - at
        if self._response is not None:
            self._response.feed(data[at:end])
        return end

    def _line_end(self, data: bytes, at: int) -> int:
        """Return the end of a line between chunks, after its line break; ``at`` if the line has not fully arrived."""
        end = data.find(b"\r\n", at, at + _LINE_LIMIT)
        if end < 0 and len(data) - at >= _LINE_LIMIT:
            raise NotHTTPError(data[at : at + 16])
        return end + 2 if end >= 0 else at
