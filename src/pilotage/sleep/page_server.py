"""Serves the loading page and its events. Envoy sends browsers' requests here while a service is not ready.

Envoy names the route in a header, and overwrites any value that the browser sent in this header.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from pilotage.core.sockets import bind_private, share_of_descriptors
from pilotage.core.text import shorten
from pilotage.sleep.loading_page import (
    REFRESH,
    WakeStatus,
    event_data,
    event_name,
    page_headers,
    render_page,
)
from pilotage.sleep.state import Phase
from pilotage.xds.sleeping_routes import EVENTS_PATH, ROUTE_HEADER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["MOST_STREAMS", "PageServer"]

log = logging.getLogger(__name__)

MOST_STREAMS: Final = 1000
"""Maximum number of event streams; a quarter of this process's file descriptors if that is less.

Further pages reload themselves instead.
"""

_SHARE: Final = 4
"""Share of all streams that one route may have: a quarter."""
_MORE: Final = 100  # connections for pages, in addition to those for streams
_SILENCE: Final = 10.0  # seconds from connecting until the request is complete
_HEARTBEAT: Final = 15.0  # seconds between comments on a quiet stream, which keep proxies from closing it
_PAUSE: Final = 0.05  # seconds between events of a stream; changes in between become one event
_UNREAD: Final = 32 * 1024  # bytes that a stream's client may leave unread, in addition to the kernel's buffers
_LONGEST_HEADER: Final = 64 * 1024  # bytes; Envoy passes on 60 KiB, mostly cookies of the service
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Server": "pilotage",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class PageServer:
    """Answers browsers in place of services that are not ready.

    Args:
        status: returns the status of a route; ``None`` if its containers do not sleep.
        changed: waits until the status of a route changes. It must start watching before its first ``await``, so that
            no change is missed.
        wake: called with a route's alias when its page is requested. It must not block, and its result is ignored.

    """

    def __init__(
        self,
        status: Callable[[str], WakeStatus | None],
        changed: Callable[[str], Awaitable[None]],
        wake: Callable[[str], object],
    ) -> None:
        self._status = status
        self._changed = changed
        self._wake = wake
        self._streams: set[asyncio.Task[Any]] = set()
        self._streams_of: Counter[str] = Counter()
        self._most_streams = share_of_descriptors(4, MOST_STREAMS)
        self._most_of_route = max(1, self._most_streams // _SHARE)
        self._server: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._path: Path | None = None

    async def start(self, address: str) -> str:
        """Listen, and return the address with the actual port.

        Args:
            address: ``host:port``, or the absolute path of a unix socket that only this user may access.

        Raises:
            ValueError: the address has neither form.
            OSError: the server cannot listen on the address.

        """
        loop = asyncio.get_running_loop()
        server = web.Server(self._answer, handler_cancellation=True)
        most = self._most_streams + _MORE
        factory = partial(_Connection, server, most)
        if address.startswith("/"):
            path = Path(address)
            self._listener = await loop.create_unix_server(factory, sock=_bind(path), backlog=most)
            self._path = path
        else:
            host, _, port = address.rpartition(":")
            if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
                raise ValueError(f"{shorten(address)!r} is neither HOST:PORT nor an absolute path")
            host = host.removeprefix("[").removesuffix("]")
            self._listener = await loop.create_server(factory, host, int(port), backlog=most)
            port = self._listener.sockets[0].getsockname()[1]
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._server = server
        return address

    async def close(self) -> None:
        """Stop listening, end all streams and close all connections."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
        for stream in self._streams:
            stream.cancel()
        if self._server is not None:
            await self._server.shutdown(1)
            self._server = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if isinstance(request.protocol, _Connection):
            request.protocol.begin()
        alias = request.headers.get(ROUTE_HEADER, "")
        try:
            if request.method not in {"GET", "HEAD"}:
                return _text(405, "only GET and HEAD are allowed until the service is ready", {"Allow": "GET, HEAD"})
            if not alias:
                return _text(400, f"the header {ROUTE_HEADER} is missing; only Envoy may connect here")
            return await self._events(request, alias) if request.path == EVENTS_PATH else self._page(request, alias)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("request %s for route %s failed", shorten(request.path), shorten(alias))
            return _text(500, "internal error; see pilotage's log")

    def _page(self, request: web.BaseRequest, alias: str) -> web.Response:
        """Wake a route's containers, and return the page that shows their progress (with status 503)."""
        status = self._status(alias)
        if status is not None:
            self._wake(alias)
            status = self._status(alias)
        if status is None:
            # Envoy still leads here, although nothing behind the route sleeps any more. Until Envoy is updated, a
            # redirect to the same URL would be an endless loop, so the page reloads itself after a second.
            status = _unknown(alias)
        # 503 and not 200: search engines must not index the page, monitoring must not take it for the service, and
        # caches must not keep it. Browsers show it anyway.
        headers = {**_HEADERS, **page_headers(status)}
        page = render_page(status, events_path=EVENTS_PATH, target=request.raw_path)
        response = web.Response(status=503, text=page, content_type="text/html", headers=headers)
        response.force_close()  # an idle connection could be closed just when Envoy uses it again
        return response

    async def _events(self, request: web.BaseRequest, alias: str) -> web.StreamResponse:
        """Stream a route's status, now and at each change, until it is ready. This does not wake its containers."""
        if self._status(alias) is None:
            return _text(404, "nothing to wait for")
        if self._streams_of[alias] >= self._most_of_route:
            return _text(503, "this service already has too many event streams", {"Retry-After": str(REFRESH)})
        if len(self._streams) >= self._most_streams:
            retry = {"Retry-After": str(REFRESH)}
            return _text(503, f"there are already {self._most_streams} event streams", retry)
        headers = {**_HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        response.force_close()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # always set in a coroutine
        self._streams.add(task)
        self._streams_of[alias] += 1
        try:
            await response.prepare(request)
            if request.method == "GET":
                await self._stream(request, response, alias)
        except ConnectionError:  # the client disconnected, or does not read
            if request.transport is not None:
                request.transport.abort()
        except Exception:  # the status line is already sent: end the stream, and the browser asks again
            log.exception("the event stream for route %s failed", shorten(alias))
        finally:
            self._streams.discard(task)
            self._streams_of -= Counter([alias])
        return response

    async def _stream(self, request: web.BaseRequest, response: web.StreamResponse, alias: str) -> None:
        async def send(data: bytes) -> None:
            # write() never waits for the client, because _UNREAD is below the size at which a transport pauses writers.
            if request.transport is None or request.transport.get_write_buffer_size() > _UNREAD:
                raise ConnectionResetError
            await response.write(data)

        await send(b"retry: %d\n\n" % (REFRESH * 1000))
        before: WakeStatus | None = None
        while True:
            # Listen for changes before reading the status, so that none is missed in between.
            changed = asyncio.ensure_future(self._changed(alias))
            try:
                await asyncio.sleep(0)
                status = self._status(alias)
                if status is None:
                    return
                await send(b"event: %s\ndata: %s\n\n" % (event_name(before, status).encode(), event_data(status)))
                if status.phase is Phase.READY:
                    return
                before = status
                while not (await asyncio.wait({changed}, timeout=_HEARTBEAT))[0]:
                    await send(b": nothing new\n\n")
                changed.result()
            finally:
                changed.cancel()
                await asyncio.wait({changed})
            await asyncio.sleep(_PAUSE)


class _Connection(web.RequestHandler):
    """One connection. It is closed if there are too many connections, or if no request arrives."""

    __slots__ = ("_limit", "_timer")

    def __init__(self, server: web.Server, limit: int) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # that turns it off
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
            lingering_time=0,
        )
        self._limit = limit
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start waiting for a request, or close the connection at once if there are too many connections."""
        super().connection_made(transport)
        if self._manager is not None and len(self._manager.connections) > self._limit:
            self._abort()
        else:
            self._timer = asyncio.get_running_loop().call_later(_SILENCE, self._abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timer that waits for a request, and let aiohttp cancel the request in progress."""
        self.begin()
        super().connection_lost(exc)

    def handle_error(self, request: web.BaseRequest, status: int = 500, *_: Any, **__: Any) -> web.StreamResponse:
        """Return the response to a malformed request, without logging it; raise an error if a response has begun."""
        if request.writer.output_size:
            raise ConnectionResetError
        return _text(status, "malformed request")

    def begin(self) -> None:
        """Stop waiting for a request, because the headers of one are complete."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


def _bind(path: Path) -> socket.socket:
    """Create a unix socket that only this user can connect to. Replace a socket that a killed daemon left behind.

    Raises:
        OSError: another daemon is already listening there, or the socket cannot be created.

    """
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(0)
            if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
                raise OSError(errno.EADDRINUSE, "another daemon listens there", str(path))
        path.unlink()
    return bind_private(path)


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    response = web.Response(status=status, text=f"{text}\n", headers={**_HEADERS, **(headers or {})})
    response.force_close()
    return response


def _unknown(alias: str) -> WakeStatus:
    return WakeStatus(
        name=alias, phase=Phase.READY, step="", done=(), waited=0, failure="", retry_in=None, typical=None
    )
