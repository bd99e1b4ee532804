"""A small HTTP/1.1 server that can misbehave: as much HTTP as an engine's clients need, and no more.

Written on asyncio's protocols instead of a web framework, because hundreds of engines with thousands of containers must
fit into one test process, and because it must be able to break the rules of HTTP on demand.
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
    """One request.

    Attributes:
        method: in capitals.
        target: path and query as they came.
        path: decoded.
        query: its parameters; of several of one name the last.
        headers: names in small letters.

    """

    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


class Connection(asyncio.Protocol):
    """One client's connection. Requests are answered in their order, one at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self.closed = asyncio.get_running_loop().create_future()
        self._buffer = bytearray()
        self._busy = self._advancing = self._last = self._head = False
        self.on_close: Callable[[], None] | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or hang up."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (a promise of asyncio's to the type checker)
        self._transport = transport
        self._server.accepted += 1
        if self._server.hang_up:
            transport.abort()
            return
        self._server.connections.add(self)
        self._server.changed()

    def data_received(self, data: bytes) -> None:
        """Collect bytes until they make a request."""
        self._buffer += data
        self.advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Forget the client."""
        self._transport = None
        self.closed.set_result(None)
        self._server.connections.discard(self)
        if self.on_close is not None:
            self.on_close()
        self._server.changed()

    # What the engine calls.

    def advance(self) -> None:
        """Handle the requests that have come in completely, unless the server is stalled."""
        if self._advancing:
            return
        self._advancing = True
        while not self._busy and not self._server.stalled and (request := self._next()) is not None:
            self._busy = True
            self._head = request.method == "HEAD"
            self._server.handle(request, self)
        self._advancing = False

    def answer(self, answer: Answer, *, promise: int | None = None) -> None:
        """Send a whole answer.

        Args:
            answer: what to send.
            promise: a ``Content-Length`` other than the true one; the connection is then cut after the body.

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
        """Begin an answer of unknown length."""
        self._write(_head(200, headers | {"Transfer-Encoding": "chunked"}))

    def chunk(self, data: bytes) -> None:
        """Send a piece of it."""
        self._write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Finish it properly."""
        self._write(b"0\r\n\r\n")
        self._busy = False
        self.advance()

    def raw(self, data: bytes) -> None:
        """Send bytes as they are, whatever HTTP says."""
        self._write(data)

    def finish_abruptly(self) -> None:
        """Close the connection once everything sent has left, in the middle of an answer."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once; what has not left yet is lost."""
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
    """Listens for clients.

    Attributes:
        handle: is called with every request; it answers through the connection, now or later.
        changed: is called whenever a connection comes or goes.
        connections: the open ones.
        accepted: how many there have been.
        hang_up: whether new ones are closed at once.
        stalled: whether requests are left unanswered, as by a frozen process.

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
        """Whether it takes connections."""
        return self._listener is not None

    async def listen(self, place: Path | int) -> int:
        """Take connections at a unix socket, or a TCP port of loopback; return the port, or 0 for a socket.

        Args:
            place: the socket's path, or the port; port 0 chooses a free one.

        """
        loop = asyncio.get_running_loop()
        # The socket's file outlives the listener, as that of a killed engine does.
        keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        if isinstance(place, Path):
            _make_room(place)
            self._listener = await loop.create_unix_server(lambda: Connection(self), place, backlog=1024, **keep)
            return 0
        self._listener = await loop.create_server(lambda: Connection(self), "127.0.0.1", place, backlog=1024)
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    def refuse(self) -> None:
        """Stop taking connections; those there are stay open."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def stall(self) -> None:
        """Leave requests unanswered."""
        self.stalled = True

    def resume(self) -> None:
        """Answer what has come in since."""
        self.stalled = False
        for connection in tuple(self.connections):
            connection.advance()

    def cut(self) -> None:
        """Close all connections at once."""
        for connection in tuple(self.connections):
            connection.abort()

    async def close(self) -> None:
        """Stop, and wait until every connection has gone."""
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
