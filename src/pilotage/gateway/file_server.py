"""Serves the files of routes with scheme fileserver to Envoy, over a private unix socket.

Envoy controls access to the files. It sends the alias of the route as the host of each request.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate, parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from pilotage.core.media_types import media_type
from pilotage.core.sockets import bind_private, share_of_descriptors
from pilotage.gateway.file_paths import find, split_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.gateway.file_paths import FileRoot, Found

__all__ = ["FileServer"]

_MOST_CONNECTIONS: Final = 1000
_THREADS: Final = 4
_CHUNK: Final = 256 * 1024
_KEPT: Final = 60.0
"""Seconds until an idle connection is closed. Envoy closes it earlier, so it never uses a closed one."""
_LONGEST_HEADER: Final = 128 * 1024
_NANOSECONDS: Final = 1_000_000_000


class FileServer:
    """A server for the files of all routes.

    Args:
        root_of: takes an alias and returns what its route serves; ``None`` if there is no such route.

    """

    def __init__(self, root_of: Callable[[str], FileRoot | None]) -> None:
        self._root_of = root_of
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="files")
        self._server = web.Server(self._respond)
        self._limit = share_of_descriptors(8, _MOST_CONNECTIONS)
        self._listener: asyncio.AbstractServer | None = None

    async def start(self, path: str) -> None:
        """Listen on a unix socket. A socket that a killed daemon left behind is replaced.

        Raises:
            OSError: another daemon is already listening there, or the socket cannot be created.

        """
        bound = _bind(Path(path))
        self._listener = await asyncio.get_running_loop().create_unix_server(self._connection, sock=bound)

    async def close(self) -> None:
        """Stop listening, and end all connections."""
        if self._listener is not None:
            self._listener.close()
        await self._server.shutdown(0)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _connection(self) -> asyncio.Protocol:
        if len(self._server.connections) >= self._limit:
            return _Closed()
        return web.RequestHandler(
            self._server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # that turns it off
            keepalive_timeout=_KEPT,
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
            lingering_time=0,
        )

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return _text(405, "Files can only be read.", {"Allow": "GET, HEAD"})
        root = self._root_of(request.host)
        path, query = request.raw_path.partition("?")[::2]
        parts = split_path(path)
        if root is None or parts is None:
            return _text(404, "There is no such file.")
        names, slash = parts
        found = await self._in_thread(lambda: find(root, names, slash=slash))
        if found is None:
            return _text(404, "There is no such file.")
        if found.descriptor < 0:
            # With two leading slashes, a browser would take the first part for a host.
            there = f"/{path.lstrip('/')}/" + (f"?{query}" if query else "")
            return _text(301, "The URL of this folder ends with a slash.", {"Location": there})
        try:
            return await self._send(request, found)
        finally:
            os.close(found.descriptor)

    async def _send(self, request: web.BaseRequest, found: Found) -> web.StreamResponse:
        tag = f'"{found.modified:x}-{found.size:x}"'
        headers = {
            "ETag": tag,
            "Last-Modified": formatdate(found.modified // _NANOSECONDS, usegmt=True),
            "Accept-Ranges": "bytes",
            "X-Content-Type-Options": "nosniff",
        }
        if _is_outdated(request, found, tag):
            return _text(412, "The file has changed.", headers)
        if _is_known(request, found, tag):
            return web.Response(status=304, headers=headers)
        start, length, status = 0, found.size, 200
        wanted = _range(request, found, tag)
        if wanted == (-1, -1):
            return _text(
                416, "The file does not have the requested range.", headers | {"Content-Range": f"bytes */{found.size}"}
            )
        if wanted is not None:
            (start, length), status = wanted, 206
            headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{found.size}"
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = length
        response.headers["Content-Type"] = media_type(found.name)
        await response.prepare(request)
        while length and request.method == "GET":
            read = partial(os.pread, found.descriptor, min(_CHUNK, length), start)
            data: bytes = await self._in_thread(read)
            if not data:  # the file has become shorter
                raise ConnectionResetError
            await response.write(data)
            start, length = start + len(data), length - len(data)
        await response.write_eof()
        return response

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


class _Closed(asyncio.Protocol):
    """The protocol of a connection beyond the limit, which is closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _is_outdated(request: web.BaseRequest, found: Found, tag: str) -> bool:
    """Return whether the request is only for a version that the file no longer has (RFC 9110, 13.1)."""
    if (wanted := request.headers.get("If-Match")) is not None:
        return wanted.strip() != "*" and tag not in _tags(wanted)
    since = _seconds(request.headers.get("If-Unmodified-Since"))
    return since is not None and found.modified // _NANOSECONDS > since


def _is_known(request: web.BaseRequest, found: Found, tag: str) -> bool:
    """Return whether the client already has this version."""
    if (known := request.headers.get("If-None-Match")) is not None:
        return known.strip() == "*" or tag in (each.removeprefix("W/") for each in _tags(known))
    since = _seconds(request.headers.get("If-Modified-Since"))
    return since is not None and found.modified // _NANOSECONDS <= since


def _tags(header: str) -> list[str]:
    return [each.strip() for each in header.split(",")]


def _range(request: web.BaseRequest, found: Found, tag: str) -> tuple[int, int] | None:
    """Return start and length of the requested part; ``None`` for the whole file, (-1, -1) if there is no such part.

    Requests for several parts get the whole file, as RFC 9110, 14.2, allows.
    """
    unit, _, text = request.headers.get("Range", "").partition("=")
    if unit.strip().lower() != "bytes" or "," in text:
        return None
    condition = request.headers.get("If-Range", tag).strip()
    if condition != tag and _seconds(condition) != found.modified // _NANOSECONDS:
        return None
    first, dash, last = (part.strip() for part in text.partition("-"))
    if not dash or not (first or last) or not all(part.isascii() and part.isdigit() for part in (first, last) if part):
        return None
    if max(len(first), len(last)) > 18:
        return -1, -1
    if not first:
        length = min(int(last), found.size)
        return (found.size - length, length) if length else (-1, -1)
    start, end = int(first), min(int(last or found.size), found.size - 1)
    if last and int(last) < start:
        return None
    return (start, end - start + 1) if start < found.size else (-1, -1)


def _seconds(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers=headers)


def _bind(path: Path) -> socket.socket:
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(0)
            if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
                raise OSError(errno.EADDRINUSE, "another daemon is already listening there", str(path))
        path.unlink()
    return bind_private(path)
