"""Limits the resources that clients of the HTTP API can use: connections, idle time and unread responses.

aiohttp limits none of these before the first request, so without this module, one client could shut out all others.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from pilotage.core.sockets import share_of_descriptors
from pilotage.core.text import shorten

__all__ = ["LIMIT", "SERVER", "SILENCE", "Connections", "connection_limit", "receiving", "serving"]

log = logging.getLogger(__name__)

LIMIT: Final = 200
"""Maximum number of connections to one address of the API; an eighth of the descriptors of the process if that is less.

A further connection replaces the one that has been idle for the longest time.
"""

SILENCE: Final = 10.0
"""Seconds that a client may take to send a request's headers, to read on when buffers are full, or between requests."""

SERVER: Final = "pilotage"
"""The ``Server`` header, without a version, which would help only attackers."""


def connection_limit() -> int:
    """Return the maximum number of connections to one address of the API.

    This is at most an eighth of the file descriptors that the process may open, because the daemon also needs
    descriptors for engines and Envoy.
    """
    return share_of_descriptors(8, LIMIT)


class Connections:
    """The open connections to one address. An instance is a protocol factory for :mod:`asyncio` servers.

    Args:
        server: the aiohttp server that handles the requests on these connections.
        limit: maximum number of connections; 0 for the result of :func:`connection_limit`.
        silence: seconds after which an inactive connection is closed; see :data:`SILENCE`.

    Attributes:
        backlog: how many connections the server may accept at a time, before the limit is checked.

    """

    def __init__(self, server: web.Server, *, limit: int = 0, silence: float = SILENCE) -> None:
        self.silence = silence
        self._server = server
        self._limit = limit or connection_limit()
        self.backlog = min(64, self._limit)
        self._open: dict[Connection, None] = {}  # the one that has been silent for the longest time comes first

    def __call__(self) -> Connection:
        """Return the handler of a new connection."""
        return Connection(self, self._server)

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: Connection) -> bool:
        """Add a connection. At the limit, close the longest idle one first, or return ``False`` if all are busy."""
        if len(self._open) >= self._limit:
            silent = next((other for other in self._open if not other.requests), None)
            if silent is None:
                return False
            silent.abort()
            self.closed(silent)
        self._open[connection] = None
        return True

    def closed(self, connection: Connection) -> None:
        """Remove a connection that has been closed."""
        self._open.pop(connection, None)

    def heard(self, connection: Connection) -> None:
        """Move a connection that has just finished a request to the end: at the limit, it is the last to be closed."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None


class Connection(web.RequestHandler):
    """A client's connection. It closes itself if no request arrives in time, or if the client stops reading.

    Attributes:
        requests: number of requests that are being handled; 0 or 1.

    """

    __slots__ = ("_before", "_connections", "_timer", "requests")

    def __init__(self, connections: Connections, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            logger=_Callers(log),  # type: ignore[arg-type]  # it has the same methods
            access_log=None,  # type: ignore[arg-type]  # that turns it off
            keepalive_timeout=connections.silence,
            lingering_time=0,
        )
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._before = 0  # bytes in the buffer at the last check
        self.requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request, or close immediately if the limit is reached and all connections are busy."""
        super().connection_made(transport)
        if self._connections.opened(self):
            self._wait()
        else:
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Remove the connection from the open connections, and stop its timer."""
        self._connections.closed(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connection_lost(exc)

    def handle_error(self, *args: Any, **more: Any) -> web.StreamResponse:
        """Return the response to a malformed request, with our ``Server`` header instead of aiohttp's."""
        response = super().handle_error(*args, **more)
        response.headers["Server"] = SERVER
        return response

    def abort(self) -> None:
        """Close the connection and discard its buffer."""
        if self.transport is not None:
            self.transport.abort()

    def begin(self) -> None:
        """Note that a request's headers are complete."""
        self.requests += 1

    def end(self) -> None:
        """Note that the request has been handled, and wait for the next request."""
        self.requests -= 1
        self._connections.heard(self)
        self._wait()

    def _wait(self, before: int = sys.maxsize) -> None:
        if self.transport is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._before = before
        self._timer = asyncio.get_running_loop().call_later(self._connections.silence, self._check)

    def _check(self) -> None:
        """Close the connection unless a handler can still write, or the client has read since the last check."""
        left = 0 if self.transport is None else self.transport.get_write_buffer_size()
        if 0 < left < self._before or (self.requests and not self.writing_paused):
            self._wait(left)
        else:
            self.abort()


class _Mark:
    """Marks a request's connection inside a ``with`` block."""

    def __init__(self, request: web.BaseRequest) -> None:
        protocol = request.protocol
        self._connection = protocol if isinstance(protocol, Connection) else None


class serving(_Mark):  # noqa: N801  # a context manager that reads like a function
    """Mark a request's connection as busy inside a ``with`` block, so that the connection is not closed as idle."""

    def __enter__(self) -> None:
        if self._connection is not None:
            self._connection.begin()

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.end()


class receiving(_Mark):  # noqa: N801  # a context manager that reads like a function
    """Mark a request's connection as idle inside a ``with`` block, in which a handler waits for the request's body.

    The connection is closed if the body takes too long, and before others at the limit.
    """

    def __enter__(self) -> None:
        if self._connection is not None:
            self._connection.end()

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.begin()


class _Callers(logging.LoggerAdapter[logging.Logger]):
    """Logs malformed and incomplete requests as debug messages, because only their clients are concerned."""

    def exception(self, msg: object, *args: object, exc_info: Any = True, **_: Any) -> None:
        if isinstance(exc_info, HttpProcessingError):
            self.debug("%s: %s", str(msg) % args, shorten(exc_info.message))
        elif isinstance(exc_info, ConnectionError):
            self.debug("%s: %s", str(msg) % args, shorten(exc_info))
        else:
            self.error(msg, *args, exc_info=exc_info)
