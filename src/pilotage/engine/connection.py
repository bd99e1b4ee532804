"""HTTP to one engine: version negotiation, timeouts, limits, and every failure turned into our errors."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import asynccontextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec
from yarl import URL

from pilotage.core.errors import EngineError, EngineIncompatible, EngineRefused, EngineUnreachable
from pilotage.engine.address import bracketed
from pilotage.engine.diagnosis import OURS, BodyTooLargeError, ClosedError, Request, explain, refusal, renamed
from pilotage.engine.singleflight import SingleFlight
from pilotage.engine.transport import CONNECT_TIMEOUT, Dialer, EngineConnector, dialer_for
from pilotage.engine.types import Version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pilotage.engine.address import Address

__all__ = ["NEWEST_API", "OLDEST_API", "Connection", "Timeouts"]

OLDEST_API: Final = (1, 40)
"""Docker 19.03, Podman 3."""

NEWEST_API: Final = (1, 52)
"""The newest that has been checked; newer engines are spoken to in this one."""

LIST_LIMIT: Final = 160 * 2**20
"""Bytes of a container list: 50,000 well-labelled containers are 110 MB."""

BODY_LIMIT: Final = 16 * 2**20
"""Bytes of any other answer."""

_ERROR_BODY: Final = 4096
_AGENT_ROOT: Final = "/godoxy/agent"  # LABELS II.7.2


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait, in seconds.

    Attributes:
        connect: for a connection, TLS included.
        request: for a whole answer, connecting included. The event stream has no end and no limit, but its beginning
            has this one.

    """

    connect: float = CONNECT_TIMEOUT
    request: float = 30.0


def parse_api(text: str) -> tuple[int, int] | None:
    """Read ``"1.41"``; ``None`` when it is no API version."""
    major, dot, minor = text.partition(".")
    return (int(major), int(minor)) if dot and major.isdecimal() and minor.isdecimal() else None


def negotiate(version: Version, engine: str) -> str:
    """Return the API version to speak: theirs, or the newest we know where theirs is newer still.

    Raises:
        EngineIncompatible: not an engine, or no version in common; both ranges are named.

    """
    newest, oldest = parse_api(version.ApiVersion), parse_api(version.MinAPIVersion) or (1, 0)
    if newest is None:
        raise _no_engine(engine, "its /version names no ApiVersion")
    if newest >= OLDEST_API and oldest <= NEWEST_API:
        return "{}.{}".format(*min(newest, NEWEST_API))
    theirs = f"{version.MinAPIVersion or version.ApiVersion} to {version.ApiVersion}"
    ours = "{}.{} to {}.{}".format(*OLDEST_API, *NEWEST_API)
    if newest < OLDEST_API:
        what = f"the engine is too old: it speaks the API versions {theirs}, pilotage {ours}"
        raise EngineIncompatible(engine, what, "upgrade the engine to Docker 19.03, Podman 3 or newer")
    what = f"the engine is too new: it speaks the API versions {theirs}, pilotage {ours}"
    raise EngineIncompatible(engine, what, "upgrade pilotage")


class Connection:
    """The streams to one engine, and the API version agreed with it. Opens nothing until asked.

    The version is agreed before the first request, and again after a failure, when an answer's headers tell of
    another engine, or when the engine refuses the version: an engine may be upgraded under an open client.

    Args:
        address: where the engine is; not a context.
        dialer: opens the streams; chosen by the address unless given.

    """

    def __init__(self, address: Address, dialer: Dialer | None = None) -> None:
        self.address = address
        self.version: Version | None = None
        self.api_version = ""
        self.latency = 0.0
        self.closed = False
        self._dialer = dialer or dialer_for(address)
        self._session: aiohttp.ClientSession | None = None
        self._responses: weakref.WeakSet[aiohttp.ClientResponse] = weakref.WeakSet()
        self._signature: tuple[str, str] | None = None
        self._stale = True
        self._negotiation = SingleFlight(self._negotiate)
        self._timeouts = Timeouts()
        self._origin = f"http://{self._authority()}{self._root()}"

    def _authority(self) -> str:
        match self.address.scheme:
            case "tcp" | "tls":
                return f"{bracketed(self.address.host)}:{self.address.port}"
            case "agent":
                return "godoxy.agent"
        return "engine.invalid"

    def _root(self) -> str:
        match self.address.scheme:
            case "tcp" | "tls":
                return self.address.path
            case "agent":
                return _AGENT_ROOT
        return ""

    # ---- the version

    async def open(self, engine: str, timeouts: Timeouts, *, again: bool = False) -> None:
        """Agree on a version unless that is done; ``again`` asks the engine in any case.

        Raises:
            EngineError: it cannot be reached, is none, or shares no version with us.

        """
        if not self._stale and not again:
            return
        self._timeouts = timeouts
        try:
            await self._negotiation.result()
        except EngineError as error:
            raise renamed(error, engine) from error.__cause__
        except ConnectionAbortedError as error:
            raise EngineUnreachable(engine, "the client was closed while it was connecting") from error

    async def _negotiate(self) -> None:
        """Ask ``/version``, unversioned as every engine answers it, and remember who answered."""
        loop = asyncio.get_running_loop()
        request = self._request(self.address.url, "GET", "/version", self._timeouts)
        started = loop.time()
        try:
            async with self._border(request), asyncio.timeout(request.timeout):
                response = await self._exchange(request, "/version", {})
                latency = loop.time() - started
                version = msgspec.json.decode(await _read(response, BODY_LIMIT), type=Version)
        except EngineIncompatible as error:
            if not isinstance(error.__cause__, msgspec.DecodeError):
                raise
            raise _no_engine(request.engine, "its /version is not that of an engine") from error
        except EngineRefused as error:
            if error.status not in {404, 405, 501}:
                raise
            raise _no_engine(request.engine, error.what) from error
        self.api_version = negotiate(version, request.engine)
        self.version, self.latency = version, latency
        self._signature, self._stale = _signature(response), False

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
    ) -> bytes:
        """Make a request and return the whole body of its answer.

        Args:
            engine: the name for messages.
            method: of HTTP.
            path: below the version, e.g. ``/containers/json``; already quoted.
            query: the query's fields.
            timeouts: the limits.
            versioned: whether to agree on a version first and to name it.
            limit: the longest body in bytes.

        Raises:
            EngineError: of any kind.

        """
        request = self._request(engine, method, path, timeouts)
        async with self._border(request), asyncio.timeout(request.timeout):
            return await _read(await self._send(request, path, query or {}, versioned=versioned), limit)

    async def stream(
        self, engine: str, path: str, query: Mapping[str, str], *, timeouts: Timeouts
    ) -> aiohttp.ClientResponse:
        """Start a GET whose answer has no end; returns when its headers are there. The caller closes it.

        Raises:
            EngineError: of any kind.

        """
        request = self._request(engine, "GET", path, timeouts)
        async with self._border(request), asyncio.timeout(request.timeout):
            return await self._send(request, path, query, versioned=True)

    @asynccontextmanager
    async def reading(self, engine: str, path: str, timeouts: Timeouts) -> AsyncIterator[None]:
        """Turn whatever goes wrong while the body of a :meth:`stream` is read into our errors."""
        async with self._border(self._request(engine, "GET", path, timeouts)):
            yield

    async def close(self) -> None:
        """Close all streams, which fails the requests on them, and leave nothing behind. May be repeated."""
        self.closed = True
        await self._negotiation.cancel()
        for response in list(self._responses):
            response.close()  # aiohttp's own closing leaves those waiting who are reading one
        if self._session is not None:
            await self._session.close()
        await self._dialer.close()

    def _request(self, engine: str, method: str, path: str, timeouts: Timeouts) -> Request:
        return Request(engine, self.address, f"{method} {path}", timeouts.connect, timeouts.request)

    async def _send(
        self, request: Request, path: str, query: Mapping[str, str], *, versioned: bool
    ) -> aiohttp.ClientResponse:
        """Send a request in the agreed version; once more when the engine has been replaced and wants another."""
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

    async def _exchange(self, request: Request, path: str, query: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Send one request; return the answer if it is a success, its body unread."""
        if self.closed:
            raise ClosedError
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=EngineConnector(self._dialer),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "pilotage", "Accept-Encoding": "identity"},
                trust_env=False,
            )
        response = await self._session.request(
            request.line.partition(" ")[0],
            URL(self._origin + path, encoded=True).with_query(dict(query)),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=request.connect_timeout),
        )
        if self._signature is not None and _signature(response) != self._signature:
            self._stale = True
        if response.status < 300 or response.status == 304:
            self._responses.add(response)
            return response
        try:
            body = await response.content.read(_ERROR_BODY)
        finally:
            response.close()
        raise refusal(request, response, body)

    @asynccontextmanager
    async def _border(self, request: Request) -> AsyncIterator[None]:
        """Let only our own errors out. After a lost connection the version is agreed anew."""
        try:
            yield
        except EngineUnreachable:
            self._stale = True
            raise
        except (OSError, RuntimeError, aiohttp.ClientError, msgspec.DecodeError, *OURS) as error:
            if self.closed:
                raise explain(ClosedError(), request) from error
            if isinstance(error, RuntimeError):
                raise
            diagnosis = await self._dialer.diagnose(error)
            mapped = explain(error, request, diagnosis)
            self._stale = self._stale or isinstance(mapped, EngineUnreachable)
            raise mapped from error


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the whole body; the connection is kept for the next request only if that succeeds."""
    body = BytesIO()
    try:
        if (response.content_length or 0) > limit:
            raise BodyTooLargeError(limit)
        async for chunk in response.content.iter_any():
            if body.tell() + len(chunk) > limit:
                raise BodyTooLargeError(limit)
            body.write(chunk)
    finally:
        response.close()
    return body.getvalue()


def _signature(response: aiohttp.ClientResponse) -> tuple[str, str]:
    """Return what tells one engine from its successor: every engine names itself and its version in each answer."""
    return response.headers.get("Server", ""), response.headers.get("Api-Version", "")


def _no_engine(engine: str, why: str) -> EngineIncompatible:
    return EngineIncompatible(engine, f"what answers there is no container engine: {why}", "check the address")
