"""Provides a small HTTP/1.1 server that can misbehave. It supports only what engine clients need.

It uses asyncio protocols instead of a web framework because hundreds of engines must fit into one test process, and
because it must violate HTTP on demand.
"""

from __future__ import annotations

import asyncio
import dataclasses
import http
import sys
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.testing.dialect import Answer

__all__ = ["Connection", "Request", "Server"]


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request.

    Attributes:
        method: in upper case.
        target: path and query as received.
        path: decoded path.
        query: query parameters; if a name is repeated, the last one wins.
        headers: lower-case name -> value.

    """

    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


class Connection(asyncio.Protocol):
    """A client connection. Requests are handled in order, one at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self.closed = asyncio.get_running_loop().create_future()
        self._buffer = bytearray()
        self._busy = self._advancing = self._last = self._head = False
        self.on_close: Callable[[], None] | None = None

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection, or close it if ``hang_up`` is set."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (a promise of asyncio's to the type checker)
        self._transport = transport
        self._server.accepted += 1
        if self._server.hang_up:
            transport.abort()
            return
        self._server.connections.add(self)
        self._server.changed()

    def data_received(self, data: bytes) -> None:
        """Buffer data until a request is complete."""
        self._buffer += data
        self.advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Remove the connection."""
        self._transport = None
        self.closed.set_result(None)
        self._server.connections.discard(self)
        if self.on_close is not None:
            self.on_close()
        self._server.changed()

    # Called by the engine.

    def advance(self) -> None:
        """Handle all complete requests, unless the server is stalled."""
        if self._advancing:
            return
        self._advancing = True
        while not self._busy and not self._server.stalled and (request := self._next()) is not None:
            self._busy = True
            self._head = request.method == "HEAD"
            self._server.handle(request, self)
        self._advancing = False

    def answer(self, answer: Answer, *, promise: int | None = None) -> None:
        """Send a complete response.

        Args:
            answer: the response.
            promise: a wrong ``Content-Length`` to send, in which case the connection is aborted after the body.

        """
        bare = answer.status in {204, 304}
        length = {} if bare else {"Content-Length": str(len(answer.body) if promise is None else promise)}
        self._write(_head(answer.status, answer.headers | length) + (b"" if bare or self._head else answer.body))
        if promise is not None:
            self.finish_abruptly()
            return
        self._busy = False
        if self._last and self._transport is not None:
            self._transport.close()
        self.advance()

    def stream(self, headers: dict[str, str]) -> None:
        """Start a chunked response."""
        self._write(_head(200, headers | {"Transfer-Encoding": "chunked"}))

    def chunk(self, data: bytes) -> None:
        """Send one chunk."""
        self._write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """End the chunked response."""
        self._write(b"0\r\n\r\n")
        self._busy = False
        self.advance()

    def raw(self, data: bytes) -> None:
        """Send bytes as they are, outside HTTP."""
        self._write(data)

    def finish_abruptly(self) -> None:
        """Close the connection in the middle of a response, after sending the buffered data."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Abort the connection; unsent data is lost."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _next(self) -> Request | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._transport is None or self._transport.is_closing():
            return None
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        whole = end + 4 + int(headers.get("content-length", "0"))
        if len(self._buffer) < whole:
            return None
        del self._buffer[:whole]
        method, target, _version = first.split(" ")
        self._last = headers.get("connection", "").lower() == "close"
        split = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
        return Request(method, target, urllib.parse.unquote(split.path), query, headers)


class Server:
    """Accepts clients.

    Attributes:
        handle: called with every request; it responds through the connection, now or later.
        changed: called whenever a connection opens or closes.
        connections: open connections.
        accepted: number of accepted connections.
        hang_up: close new connections immediately.
        stalled: do not respond to requests, like a stopped process.

    """

    def __init__(self, handle: Callable[[Request, Connection], None], changed: Callable[[], None]) -> None:
        self.handle = handle
        self.changed = changed
        self.connections: set[Connection] = set()
        self.accepted = 0
        self.hang_up = False
        self.stalled = False
        self._listener: asyncio.Server | None = None

    @property
    def listening(self) -> bool:
        """Whether the server accepts connections."""
        return self._listener is not None

    async def listen(self, place: Path | int) -> int:
        """Listen on a unix socket or a loopback TCP port; return the port, 0 for a socket.

        Args:
            place: socket path, or port; 0 chooses a free one.

        """
        loop = asyncio.get_running_loop()
        # The socket file stays, like that of a killed engine.
        keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        if isinstance(place, Path):
            _make_room(place)
            self._listener = await loop.create_unix_server(lambda: Connection(self), place, backlog=1024, **keep)
            return 0
        self._listener = await loop.create_server(lambda: Connection(self), "127.0.0.1", place, backlog=1024)
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    def refuse(self) -> None:
        """Stop accepting connections; open connections stay open."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def stall(self) -> None:
        """Stop responding to requests."""
        self.stalled = True

    def resume(self) -> None:
        """Respond to requests again, including those received since :meth:`stall`."""
        self.stalled = False
        for connection in tuple(self.connections):
            connection.advance()

    def cut(self) -> None:
        """Abort all connections."""
        for connection in tuple(self.connections):
            connection.abort()

    async def close(self) -> None:
        """Stop listening, abort all connections and wait until every connection is closed."""
        self.refuse()
        self.cut()
        for connection in tuple(self.connections):
            await connection.closed


def _make_room(place: Path) -> None:
    place.unlink(missing_ok=True)


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
