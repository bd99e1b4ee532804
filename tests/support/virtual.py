"""A connection to a fake engine without a socket: in virtual time, hours pass in milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pilotage.core.errors import EngineRefused, EngineUnreachable
from pilotage.engine.connection import Connection, Timeouts
from pilotage.engine.types import Component, Version
from pilotage.testing import FakeEngine
from pilotage.testing.faults import due
from pilotage.testing.handlers import Subscription, reply, route
from pilotage.testing.server import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from pilotage.engine.address import Address

__all__ = ["VirtualEngine"]


class VirtualEngine(FakeEngine):
    """A fake engine without a socket: ``Pool(connect=engine.connection)``.

    Attributes:
        latency: seconds until each response.
        down: the error of every request, if not empty.
        silent: whether it sends neither responses nor events.
        attempts: times of connection attempts by the loop's clock.
        order: the requested endpoints, and ``stream`` for each opened stream.
        sent: number of events sent into streams.

    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.latency = 0.001
        self.down = ""
        self.silent = False
        self.attempts: list[float] = []
        self.order: list[str] = []
        self.open: set[_Stream] = set()
        self.sent = 0

    @property
    def url(self) -> str:
        """An address that leads nowhere."""
        return "unix:///nonexistent/virtual.sock"

    def connection(self, address: Address) -> Connection:
        """Return a connection to this engine, whatever the address."""
        return _Connection(address, self)

    def break_streams(self) -> None:
        """End every event stream, as a lost connection does."""
        for stream in tuple(self.open):
            stream.queue.put_nowait(None)


class _Stream:
    """One client's event stream, as a response."""

    def __init__(self, engine: VirtualEngine, wish: Subscription) -> None:
        self.engine = engine
        self.filters = wish.filters
        self.old_fields = wish.old_fields
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        engine.order.append("stream")
        engine.open.add(self)
        engine.hub.listeners.add(self)

    def send(self, line: bytes) -> None:
        if not self.engine.silent:
            self.engine.sent += 1
            self.queue.put_nowait(line)

    async def read(self) -> bytes:
        line = await self.queue.get()
        if line is None:
            raise EngineUnreachable("?", "cut")
        return line

    def close(self) -> None:
        self.engine.open.discard(self)
        self.engine.hub.listeners.discard(self)


class _Connection(Connection):
    def __init__(self, address: Address, engine: VirtualEngine) -> None:
        super().__init__(address)
        self.engine = engine

    async def _negotiate(self) -> None:
        self.engine.attempts.append(asyncio.get_running_loop().time())
        await self._wait("GET /version", self._timeouts)
        self.engine.calls["version"] += 1
        components = [Component("Podman Engine" if self.engine.dialect.podman else "Engine")]
        self.version = Version("0", "1.45", "1.24", components)
        self.api_version, self._stale = "1.45", False

    async def _wait(self, line: str, timeouts: Timeouts) -> None:
        if self.engine.silent:
            await asyncio.sleep(timeouts.request)
            raise EngineUnreachable("virtual", f"no answer to {line}")
        await asyncio.sleep(self.engine.latency)
        if self.engine.down:
            raise EngineUnreachable("virtual", self.engine.down)

    async def call(
        self,
        engine: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        timeouts: Timeouts,
        versioned: bool = True,
        limit: int = 0,
        sink: Callable[[bytes], object] | None = None,
    ) -> bytes:
        # The response has the state of the moment when the engine sends it, and ages on its way.
        request = Request(method, f"{path}?{urlencode(query or {})}", path, dict(query or {}), {})
        where = route(request)
        self.engine.calls[where.endpoint] += 1
        self.engine.order.append(where.endpoint)
        fault = due(self.engine.faults, where.endpoint)
        answer = reply(self.engine, request, where)
        assert not isinstance(answer, Subscription)
        await self._wait(f"{method} {path}", timeouts)
        if fault is not None:
            await asyncio.sleep(fault.delay)
            if fault.status:
                raise EngineRefused(engine, fault.message, status=fault.status)
        if answer.status >= 300:
            raise EngineRefused(engine, str(answer.body), status=answer.status)
        if sink is not None:
            sink(answer.body)
            return b""
        return answer.body

    async def stream(self, engine: str, path: str, query: Mapping[str, str], *, timeouts: Timeouts) -> Any:
        await self._wait(f"GET {path}", timeouts)
        request = Request("GET", path, path, dict(query), {})
        self.engine.calls["events"] += 1
        wish = reply(self.engine, request, route(request))
        assert isinstance(wish, Subscription)
        return _Stream(self.engine, wish)

    @contextlib.asynccontextmanager
    async def reading(self, engine: str, path: str, timeouts: Timeouts) -> AsyncIterator[None]:
        yield
