"""Sends HTTP requests to one engine over connections that are opened on demand and reused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pilotage.engine.diagnosis import ClosedError, DialError
from pilotage.engine.http_stream import HTTPStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.engine.http_response import EngineResponse
    from pilotage.engine.transport import Dialer

__all__ = ["HTTPClient"]

_KEEP_ALIVE: Final = 300.0
"""Seconds to keep an idle connection. Engines do not close idle connections, and ssh ones are slow to open."""

_PLAIN: Final = ":,"  # also allowed in a query, and frequent in filters

_REPEATABLE: Final = ("GET", "HEAD")


class HTTPClient:
    """HTTP connections to one engine, opened on demand and reused.

    Args:
        dialer: opens the streams.
        host: value of the ``Host`` header.

    """

    def __init__(self, dialer: Dialer, host: str) -> None:
        self._dialer = dialer
        self._head = f"Host: {host}\r\nUser-Agent: pilotage\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
        self._slots = asyncio.Semaphore(dialer.limit)
        self._idle: list[tuple[HTTPStream, float]] = []  # each with the time at which it became idle, oldest first
        self._waiting: set[HTTPStream] = set()  # those that wait for the headers of a response
        self._open: set[EngineResponse] = set()
        self._closed = False

    async def request(self, method: str, path: str, query: Mapping[str, str], connect_timeout: float) -> EngineResponse:
        """Send a request without a body; return after the response's headers.

        If the engine has closed a reused connection, a repeatable request is sent again over another connection.

        Args:
            method: HTTP method.
            path: already quoted.
            query: parameters; their values are not quoted yet.
            connect_timeout: seconds to open a connection.

        Raises:
            DialError: no connection could be opened.
            OSError: the connection was lost.
            NotHTTPError: the response is not HTTP.

        """
        target = (
            f"{path}?{'&'.join(f'{key}={quote(text, safe=_PLAIN)}' for key, text in query.items())}" if query else path
        )
        size = "Content-Length: 0\r\n" if method == "POST" else ""
        request = f"{method} {target} HTTP/1.1\r\n{self._head}{size}\r\n".encode("ascii")
        await self._slots.acquire()
        try:
            while (stream := self._reusable()) is not None:
                try:
                    return await self._exchange(stream, request)
                except OSError:
                    if method not in _REPEATABLE:
                        raise
            return await self._exchange(await self._dial(connect_timeout), request)
        except BaseException:
            self._slots.release()
            raise

    def _reusable(self) -> HTTPStream | None:
        """Return the most recently used idle connection, if any. Close those that have been idle for too long."""
        oldest = asyncio.get_running_loop().time() - _KEEP_ALIVE
        while self._idle and self._idle[0][1] < oldest:
            self._idle.pop(0)[0].close()
        while self._idle:
            stream, _ = self._idle.pop()
            if stream.is_reusable:
                return stream
            stream.close()
        return None

    async def _dial(self, timeout: float) -> HTTPStream:  # noqa: ASYNC109
        self._check_open()
        try:
            async with asyncio.timeout(timeout):
                return await self._dialer.dial(HTTPStream)
        except Exception as error:
            raise DialError from error

    async def _exchange(self, stream: HTTPStream, request: bytes) -> EngineResponse:
        self._waiting.add(stream)
        try:
            self._check_open()  # it may have been closed while the connection was opened
            response = await stream.request(request)
        except BaseException:
            stream.close()
            raise
        finally:
            self._waiting.discard(stream)
        self._open.add(response)
        response.on_close = lambda: self._end(response, stream)
        return response

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError

    def _end(self, response: EngineResponse, stream: HTTPStream) -> None:
        """End an exchange; keep the connection if it can be reused."""
        self._open.discard(response)
        self._slots.release()
        if stream.is_reusable and not self._closed:
            self._idle.append((stream, asyncio.get_running_loop().time()))
        else:
            stream.close()

    def close(self) -> None:
        """Close all connections. Idempotent.

        Readers of open responses get ``ConnectionAbortedError``; requests without a response end with an ``OSError``.
        """
        self._closed = True
        for stream in list(self._waiting):
            stream.close()
        for response in list(self._open):
            response.close()
        while self._idle:
            self._idle.pop()[0].close()
