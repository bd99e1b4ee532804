"""Sends HTTP requests to one engine with aiohttp's protocol and parser, but without its session.

A session handles URLs, cookies, traces and redirects, which no engine needs and which cost several times as much as the
request itself. Here a request is a single write, and its response is what the parser returns.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote, urlencode

import aiohttp
from aiohttp.client_proto import ResponseHandler

from pilotage.engine.diagnosis import ClosedError, DialError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp.http import RawResponseMessage
    from multidict import CIMultiDictProxy

    from pilotage.engine.transport import Dialer

__all__ = ["EngineResponse", "HTTPClient"]

_KEEP_ALIVE: Final = 300.0
"""Seconds to keep an idle connection. Engines do not close idle connections, and ssh ones are slow to open."""

_REPEATABLE: Final = ("GET", "HEAD")


class EngineResponse:
    """A response whose body is unread. Close it after reading; a complete response leaves its connection reusable.

    Attributes:
        status: status code.
        reason: the reason phrase after the status code.
        headers: by name in any case.
        content: the body.
        protocol: the connection.

    """

    def __init__(
        self,
        message: RawResponseMessage,
        content: aiohttp.StreamReader,
        protocol: ResponseHandler,
        on_close: Callable[[EngineResponse], object],
    ) -> None:
        self.status: int = message.code
        self.reason: str = message.reason
        self.headers: CIMultiDictProxy[str] = message.headers
        self.content = content
        self.protocol = protocol
        self._on_close: Callable[[EngineResponse], object] | None = on_close
        self._keep_alive = not message.should_close

    @property
    def is_reusable(self) -> bool:
        """Whether the connection can carry another request."""
        return self._keep_alive and self.content.is_eof() and not self.protocol.should_close

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def content_length(self) -> int:
        """The announced size of the body in bytes, 0 if it is unknown."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() else 0

    def close(self) -> None:
        """Return the connection for reuse, or close it if the body has not arrived completely. Idempotent."""
        on_close, self._on_close = self._on_close, None
        if on_close is None:
            return
        if not self.content.is_eof() and self.content.exception() is None:
            self.content.set_exception(aiohttp.ClientConnectionError("the response was closed"))  # wakes its reader
        on_close(self)


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
        self._idle: list[tuple[ResponseHandler, float]] = []  # and since when, oldest first
        self._open: set[EngineResponse] = set()
        self._closed = False

    async def request(self, method: str, path: str, query: Mapping[str, str], connect_timeout: float) -> EngineResponse:
        """Send a request without a body; return after the response's headers.

        A repeatable request that finds a reused connection closed by the engine is sent again over another.

        Args:
            method: HTTP method.
            path: already quoted.
            query: parameters, not quoted.
            connect_timeout: seconds to open a connection.

        Raises:
            DialError: no connection could be opened.
            aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError: the request failed.

        """
        target = f"{path}?{urlencode(query, quote_via=quote, safe=':,')}" if query else path
        size = "Content-Length: 0\r\n" if method == "POST" else ""
        request = f"{method} {target} HTTP/1.1\r\n{self._head}{size}\r\n".encode("ascii")
        await self._slots.acquire()
        try:
            while (protocol := self._reusable()) is not None:
                try:
                    return await self._exchange(protocol, method, request)
                except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                    if method not in _REPEATABLE:
                        raise
            return await self._exchange(await self._dial(connect_timeout), method, request)
        except BaseException:
            self._slots.release()
            raise

    def _reusable(self) -> ResponseHandler | None:
        """Return the most recently used connection, and close those that have been idle for too long."""
        oldest = asyncio.get_running_loop().time() - _KEEP_ALIVE
        while self._idle and self._idle[0][1] < oldest:
            self._idle.pop(0)[0].close()
        while self._idle:
            protocol, _ = self._idle.pop()
            if protocol.is_connected() and not protocol.should_close:
                return protocol
            protocol.close()
        return None

    async def _dial(self, timeout: float) -> ResponseHandler:  # noqa: ASYNC109
        if self._closed:
            raise ClosedError
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                return await self._dialer.dial(lambda: ResponseHandler(loop))
        except Exception as error:
            raise DialError from error

    async def _exchange(self, protocol: ResponseHandler, method: str, request: bytes) -> EngineResponse:
        try:
            protocol.set_response_params(skip_payload=method == "HEAD", read_until_eof=True, auto_decompress=False)
            cast("asyncio.Transport", protocol.transport).write(request)
            message, content = await protocol.read()
            while 100 <= message.code < 200:
                message, content = await protocol.read()
        except BaseException:
            protocol.close()
            raise
        response = EngineResponse(message, content, protocol, self._end)
        self._open.add(response)
        return response

    def _end(self, response: EngineResponse) -> None:
        """End an exchange; keep the connection if it can be reused."""
        self._open.discard(response)
        self._slots.release()
        if response.is_reusable and not self._closed:
            self._idle.append((response.protocol, asyncio.get_running_loop().time()))
        else:
            response.protocol.close()

    def close(self) -> None:
        """Close all connections. Readers of open responses get ``aiohttp.ClientConnectionError``. Idempotent."""
        self._closed = True
        for response in list(self._open):
            response.close()
        while self._idle:
            self._idle.pop()[0].close()
