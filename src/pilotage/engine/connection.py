"""Sends HTTP requests to one engine: negotiates the version, enforces timeouts and size limits, and converts errors."""

from __future__ import annotations

import asyncio
import math
import re
from io import BytesIO
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.errors import EngineError, EngineIncompatible, EngineRefused, EngineUnreachable
from pilotage.core.text import shorten
from pilotage.engine.address import bracketed
from pilotage.engine.agents import AGENT_ROOT, AgentInfo, ask_agent
from pilotage.engine.credentials import AGENT_NAME
from pilotage.engine.diagnosis import (
    OURS,
    BodyTooLargeError,
    ClosedError,
    EncodedError,
    Request,
    explain,
    refusal,
    renamed,
)
from pilotage.engine.http import HTTPClient
from pilotage.engine.singleflight import SingleFlight
from pilotage.engine.transport import CONNECT_TIMEOUT, Dialer, dialer_for
from pilotage.engine.types import DECODE_ERRORS, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from pilotage.engine.address import Address
    from pilotage.engine.http_response import EngineResponse

__all__ = ["NEWEST_API", "OLDEST_API", "Connection", "Timeouts"]

OLDEST_API: Final = (1, 40)
"""Docker 19.03, Podman 3."""

NEWEST_API: Final = (1, 52)
"""The newest tested version. pilotage uses it with newer engines."""

LIST_LIMIT: Final = 160 * 2**20
"""Maximum bytes of a container list. 50,000 containers with many labels take 110 MB."""

BODY_LIMIT: Final = 4 * 2**20
"""Maximum bytes of any other response; discovery reads up to eight at a time from an engine."""

_ERROR_BODY: Final = 4096


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Time limits in seconds.

    Attributes:
        connect: to open a connection, including the TLS handshake.
        request: to receive a complete response, including connecting. For the event stream, only its headers;
            ``math.inf`` for no limit.

    """

    connect: float = CONNECT_TIMEOUT
    request: float = 30.0


def parse_api(text: str) -> tuple[int, int] | None:
    """Parse ``"1.41"``. Return None if the text is not an API version."""
    match = _API.fullmatch(text)
    return (int(match[1]), int(match[2])) if match else None


_API: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")


def negotiate(version: Version, engine: str) -> str:
    """Return the API version to use: the engine's newest, but at most :data:`NEWEST_API`.

    Raises:
        EngineIncompatible: the server is not an engine, or supports no version that pilotage supports.

    """
    newest, oldest = parse_api(version.ApiVersion), parse_api(version.MinAPIVersion) or (1, 0)
    if newest is None:
        api = version.ApiVersion
        raise _no_engine(engine, f"its ApiVersion is {shorten(api, 20)!r}" if api else "its /version has no ApiVersion")
    if newest >= OLDEST_API and oldest <= NEWEST_API:
        return "{}.{}".format(*min(newest, NEWEST_API))
    theirs = f"{shorten(version.MinAPIVersion or version.ApiVersion, 20)} to {version.ApiVersion}"
    ours = "{}.{} to {}.{}".format(*OLDEST_API, *NEWEST_API)
    if newest < OLDEST_API:
        what = f"the engine is too old: it supports API versions {theirs}, pilotage supports {ours}"
        raise EngineIncompatible(engine, what, "upgrade the engine to Docker 19.03, Podman 3 or newer")
    what = f"the engine is too new: it supports API versions {theirs}, pilotage supports {ours}"
    raise EngineIncompatible(engine, what, "upgrade pilotage")


class Connection:
    """HTTP connections to one engine and the API version negotiated with it. Connects on first use.

    An engine may be upgraded while a client is open. The version is therefore negotiated before the first request, and
    again after a failure, when response headers show a different engine, or when the engine rejects the version.

    Args:
        address: the engine's address; not a ``context`` address.
        dialer: opens streams; by default, the dialer for the address's scheme.

    """

    def __init__(self, address: Address, dialer: Dialer | None = None) -> None:
        self.address = address
        self.version: Version | None = None
        self.agent: AgentInfo | None = None
        self.api_version = ""
        self.latency = 0.0
        self.closed = False
        self._dialer = dialer or dialer_for(address)
        self._http = HTTPClient(self._dialer, self._authority())
        self._signature: tuple[str, str] | None = None
        self._stale = True
        self._negotiation = SingleFlight(self._negotiate)
        self._timeouts = Timeouts()
        self._root = self._path_prefix()

    def _authority(self) -> str:
        match self.address.scheme:
            case "tcp" | "tls":
                return f"{bracketed(self.address.host)}:{self.address.port}"
            case "agent":
                return AGENT_NAME
        return "engine.invalid"

    def _path_prefix(self) -> str:
        match self.address.scheme:
            case "tcp" | "tls":
                return self.address.path
        return ""

    def is_rootless(self, *, podman: bool) -> bool:
        """Return whether the engine runs as an ordinary user of this machine."""
        return self._dialer.is_rootless(podman=podman)

    # ---- the version

    async def open(self, engine: str, timeouts: Timeouts, *, again: bool = False) -> None:
        """Negotiate the API version unless it is already known; with ``again``, negotiate it anyway.

        Raises:
            EngineError: the engine is unreachable or incompatible, or the server is not an engine.

        """
        if not self._stale and not again:
            return
        self._timeouts = timeouts
        try:
            await self._negotiation.result()
        except EngineError as error:
            raise renamed(error, engine) from error.__cause__
        except ConnectionAbortedError as error:
            raise EngineUnreachable(engine, "the client was closed while connecting") from error

    async def _negotiate(self) -> None:
        """Request ``/version`` without a version prefix, which every engine accepts, and record its identity."""
        loop = asyncio.get_running_loop()
        if self.address.scheme == "agent":
            self.agent = await ask_agent(self._get_from_agent, self.address.url)
        request = self._request(self.address.url, "GET", "/version", self._timeouts)
        started = loop.time()
        try:
            async with _ConvertedErrors(self, request), asyncio.timeout(request.timeout):
                response = await self._exchange(request, "/version", {})
                latency = loop.time() - started
                version = msgspec.json.decode(await _read(response, BODY_LIMIT), type=Version)
        except EngineIncompatible as error:
            if not isinstance(error.__cause__, DECODE_ERRORS):
                raise
            raise _no_engine(request.engine, "its response to GET /version does not come from an engine") from error
        except EngineRefused as error:
            if error.status not in {404, 405, 501}:
                raise
            raise _no_engine(request.engine, error.what) from error
        self.api_version = negotiate(version, request.engine)
        self.version, self.latency = version, latency
        self._signature, self._stale = _signature(response), False

    async def _get_from_agent(self, path: str) -> bytes:
        return await self.call(self.address.url, "GET", path, timeouts=self._timeouts, versioned=False)

    # ---- requests

    async def call(
        self,
        engine: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        timeouts: Timeouts,
        versioned: bool = True,
        limit: int = BODY_LIMIT,
        sink: Callable[[bytes], object] | None = None,
    ) -> bytes:
        """Send a request and return the complete response body.

        Args:
            engine: the engine's name for messages.
            method: HTTP method.
            path: path after the version prefix, already quoted, e.g. ``/containers/json``.
            query: query parameters.
            timeouts: time limits.
            versioned: whether to negotiate a version and prefix the path with it.
            limit: maximum body size in bytes.
            sink: receives the body in pieces; the result is then empty. An exception from it ends the request.

        Raises:
            EngineError: the request failed.

        """
        request = self._request(engine, method, path, timeouts)
        async with _ConvertedErrors(self, request), asyncio.timeout(request.timeout):
            return await _read(await self._send(request, path, query or {}, versioned=versioned), limit, sink)

    async def stream(self, engine: str, path: str, query: Mapping[str, str], *, timeouts: Timeouts) -> EngineResponse:
        """Start a GET with an endless response. Return after its headers; the caller closes it.

        Raises:
            EngineError: the request failed.

        """
        request = self._request(engine, "GET", path, timeouts)
        limit = None if math.isinf(request.timeout) else request.timeout
        async with _ConvertedErrors(self, request), asyncio.timeout(limit):
            return await self._send(request, path, query, versioned=True)

    def reading(self, engine: str, path: str, timeouts: Timeouts) -> AbstractAsyncContextManager[None]:
        """Raise EngineError in place of errors that occur while the body of a :meth:`stream` is read."""
        return _ConvertedErrors(self, self._request(engine, "GET", path, timeouts))

    async def close(self) -> None:
        """Close all streams and the dialer. Running requests fail. Idempotent."""
        self.closed = True
        await self._negotiation.cancel()
        self._http.close()
        await self._dialer.close()

    def _request(self, engine: str, method: str, path: str, timeouts: Timeouts) -> Request:
        return Request(engine, self.address, f"{method} {path}", timeouts.connect, timeouts.request)

    async def _send(self, request: Request, path: str, query: Mapping[str, str], *, versioned: bool) -> EngineResponse:
        """Send a request with the negotiated version.

        If the engine refuses that version (it may have been upgraded), negotiate again and retry once if the version
        changed.
        """
        if not versioned:
            return await self._exchange(request, path, query)
        timeouts = Timeouts(connect=request.connect_timeout, request=request.timeout)
        await self.open(request.engine, timeouts)
        agreed = self.api_version
        try:
            return await self._exchange(request, f"/v{agreed}{path}", query)
        except EngineRefused as error:
            if error.status != 400 or "client version" not in error.what:
                raise
            await self.open(request.engine, timeouts, again=True)
            if self.api_version == agreed:
                raise
        return await self._exchange(request, f"/v{self.api_version}{path}", query)

    async def _exchange(self, request: Request, path: str, query: Mapping[str, str]) -> EngineResponse:
        """Send one request. Return a successful response with its body unread."""
        if self.closed:
            raise ClosedError
        method = request.line.partition(" ")[0]
        response = await self._http.request(method, self._root + path, query, request.connect_timeout)
        is_engines = not path.startswith(AGENT_ROOT)
        if is_engines and self._signature is not None and _signature(response) != self._signature:
            self._stale = True
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            response.close()
            raise EncodedError(encoding)
        if response.status < 300 or response.status == 304:
            return response
        body = b""
        try:
            while len(body) < _ERROR_BODY and (part := await response.read()):
                body += part
        finally:
            response.close()
        raise refusal(request, response, body[:_ERROR_BODY])

    async def convert(self, error: BaseException, request: Request) -> EngineError | None:
        """Convert an error of this package, a decoder or the system to EngineError; return ``None`` for others.

        If the connection was lost, the next request negotiates the API version again.
        """
        if isinstance(error, EngineUnreachable):
            self._stale = True
        if not isinstance(error, (OSError, RuntimeError, *DECODE_ERRORS, *OURS)):
            return None
        if self.closed:
            return explain(ClosedError(), request)
        if isinstance(error, RuntimeError) and not isinstance(error, DECODE_ERRORS):
            return None
        mapped = explain(error, request, await self._dialer.diagnose(error))
        self._stale = self._stale or isinstance(mapped, EngineUnreachable)
        return mapped


class _ConvertedErrors:  # a class, because a generator-based context manager takes twice as long
    """Passes exceptions raised inside ``async with`` to :meth:`Connection.convert`."""

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection = connection
        self._request = request

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        mapped = await self._connection.convert(error, self._request) if error is not None else None
        if mapped is not None:
            raise mapped from error


async def _read(response: EngineResponse, limit: int, sink: Callable[[bytes], object] | None = None) -> bytes:
    """Return the complete body, or pass it to a sink and return ``b""``. A failure closes the connection."""
    body = BytesIO()
    size = 0
    try:
        if response.content_length > limit:
            raise BodyTooLargeError(limit)
        while chunk := await response.read():
            size += len(chunk)
            if size > limit:
                raise BodyTooLargeError(limit)
            (sink or body.write)(chunk)
    finally:
        response.close()
    return body.getvalue()


def _signature(response: EngineResponse) -> tuple[str, str]:
    """Return the headers that identify an engine and its version. They change when the engine is upgraded."""
    return response.headers.get("server", ""), response.headers.get("api-version", "")


def _no_engine(engine: str, why: str) -> EngineIncompatible:
    return EngineIncompatible(
        engine, f"the server at this address is not a container engine: {why}", "check the address"
    )
