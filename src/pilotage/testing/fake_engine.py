"""Provides a fake container engine that serves the Engine API on a socket, holds containers and fails on demand."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pilotage.core.tempdirs import socket_tempdir
from pilotage.testing.dialect import Answer, Flavour, dialect_of
from pilotage.testing.engine_state import FakeEngineState
from pilotage.testing.events import matches
from pilotage.testing.faults import Fault, due
from pilotage.testing.handlers import Subscription, reply, route
from pilotage.testing.server import Connection, Request, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from tempfile import TemporaryDirectory
    from types import TracebackType

    from pilotage.testing.container import FakeContainer

__all__ = ["FakeEngine"]


class FakeEngine(FakeEngineState):
    """A Docker or Podman engine for tests and demonstrations, on a unix socket or a loopback TCP port.

    It is an asynchronous context manager::

        async with FakeEngine(api="1.45") as engine:
            engine.add("web", labels={"proxy.web.port": "80"})
            ...  # point a client at engine.url
            assert engine.calls["list"] == 1

    The operations on containers (``add``, ``stop``, ``rename``, …) are those of :class:`FakeEngineState`. Each changes
    the state and sends the events that a real engine sends. Inject failures with :meth:`spoil` and related methods.

    Attributes:
        url: the engine's address, e.g. ``unix:///…/engine.sock`` or ``tcp://127.0.0.1:2375``.
        calls: number of requests per endpoint: ``ping``, ``version``, ``list``, ``list:id`` (filtered by ID),
            ``inspect``, ``events``, ``start``, ``stop``, ``kill``, ``restart``, ``pause``, ``unpause``, ``other``.
        requests: method and target of each request, in order.

    """

    def __init__(
        self,
        containers: Iterable[FakeContainer | dict[str, Any]] = (),
        *,
        flavour: Flavour = "docker",
        api: str = "",
        min_api: str = "",
        version: str = "",
        tcp: bool = False,
        socket: Path | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Create an engine that does not listen yet.

        Args:
            containers: initial containers.
            flavour: ``docker`` or ``podman``.
            api: newest supported API version, 1.41 by default. It determines the rest of the behavior.
            min_api: oldest API version; by default the oldest that the real engine supports.
            version: engine version; ``"4.3.1"`` by default for Podman.
            tcp: listen on a free loopback port instead of a unix socket.
            socket: path of the unix socket, at most 107 bytes; in a new temporary directory by default.
            clock: returns the time of events, in nanoseconds since 1970.

        """
        super().__init__(dialect_of(flavour, api, min_api, version), clock)
        self.calls: Counter[str] = Counter()
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self._folder: TemporaryDirectory[str] | None = None
        self._place: Path | int = 0 if tcp else socket or Path()
        self._server = Server(self._handle, self._touch)
        self._streams: set[_Stream] = set()
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.populate(containers)

    def __repr__(self) -> str:
        return f"<FakeEngine {self.dialect.flavour} {self.dialect.version} with {len(self.containers)} containers>"

    @property
    def url(self) -> str:
        """The engine's address; valid once the engine listens."""
        return f"tcp://127.0.0.1:{self._place}" if isinstance(self._place, int) else f"unix://{self._place}"

    @property
    def streams(self) -> int:
        """Number of open event streams."""
        return len(self._streams)

    @property
    def connections(self) -> int:
        """Number of open connections, including event streams."""
        return len(self._server.connections)

    @property
    def accepted(self) -> int:
        """Number of accepted connections so far."""
        return self._server.accepted

    # Lifecycle.

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def listen(self) -> None:
        """Start listening, at the previous address if the engine has listened before."""
        if self._server.listening:
            return
        if self._place == Path():
            self._folder = socket_tempdir("pilotage-fake-", "engine.sock")
            self._place = Path(self._folder.name) / "engine.sock"
        self._place = await self._server.listen(self._place) or self._place

    async def close(self) -> None:
        """Close all connections and remove the socket."""
        await self._server.close()
        if isinstance(self._place, Path):
            self._place.unlink(missing_ok=True)
        if self._folder is not None:
            self._folder.cleanup()

    async def until(self, condition: Callable[[], bool], timeout: float = 10) -> None:  # noqa: ASYNC109
        """Wait until a condition is true, e.g. ``lambda: engine.streams == 1``.

        The condition is checked after each request and whenever a connection opens or closes.

        Raises:
            TimeoutError: the condition was not met within ``timeout`` seconds.

        """
        if condition():
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, future))
        await asyncio.wait_for(future, timeout)

    # Faults.

    def spoil(self, endpoint: str = "*", **how: Any) -> Fault:
        """Make requests to an endpoint fail; ``how`` has attributes of :class:`Fault`. Earlier faults apply first."""
        fault = Fault(endpoint, **how)
        self.faults.append(fault)
        return fault

    def heal(self) -> None:
        """Remove all faults, and undo :meth:`stall` and :meth:`hang_up`."""
        self.faults.clear()
        self._server.hang_up = False
        self.resume()

    def cut_events(self) -> None:
        """Abort every event stream, as a crash does."""
        for stream in tuple(self._streams):
            stream.connection.abort()

    def end_events(self) -> None:
        """End every event stream cleanly."""
        for stream in tuple(self._streams):
            stream.end()

    def garble_events(self, data: bytes = b"\x00\xff not JSON\n") -> None:
        """Send bytes that are not an event to every event stream."""
        for stream in self._streams:
            stream.connection.chunk(data)

    def drop_events(self, count: int = 1) -> None:
        """Drop the next ``count`` events, also from later replays."""
        self.hub.drop(count)

    def duplicate_events(self, count: int = 1) -> None:
        """Send each of the next ``count`` events twice."""
        self.hub.double(count)

    def reorder_events(self, count: int = 2) -> None:
        """Hold back the next ``count`` events until all have happened, then send them in reverse order."""
        self.hub.reverse(count)

    def stall(self) -> None:
        """Stop responding, as after SIGSTOP: connections are accepted, but requests and event streams get no data."""
        self._server.stall()
        self.hub.held = self.hub.held or []

    def resume(self) -> None:
        """Respond again and send everything that was held back."""
        self.hub.release()
        self._server.resume()

    def hang_up(self) -> None:
        """Close every new connection immediately, until :meth:`heal`."""
        self._server.hang_up = True

    def refuse(self, *, missing: bool = False) -> None:
        """Stop listening until :meth:`listen`; keep open connections. ``missing``: also remove the socket file."""
        self._server.refuse()
        if missing and isinstance(self._place, Path):
            self._place.unlink(missing_ok=True)

    def crash(self) -> None:
        """Crash as if by SIGKILL: stop listening and abort all connections. :meth:`recover` restarts the engine."""
        self.refuse()
        self._server.cut()

    async def recover(self, *, api: str = "", min_api: str = "", version: str = "") -> None:
        """Restart at the same address, optionally as another version. Docker loses its past events."""
        if api or min_api or version:
            self.dialect = dialect_of(self.dialect.flavour, api, min_api, version)
            self.hub.dialect = self.dialect
            self._encoded.clear()
        if not self.dialect.podman:
            self.hub.forget()
        await self.listen()

    # Internals.

    def _handle(self, request: Request, connection: Connection) -> None:
        where = route(request)
        self.calls[where.endpoint] += 1
        self.requests.append((request.method, request.target))
        fault = due(self.faults, where.endpoint)
        if fault is not None and fault.delay:
            asyncio.get_running_loop().call_later(fault.delay, self._finish, request, connection, fault)
        else:
            self._finish(request, connection, fault)
        self._touch()

    def _finish(self, request: Request, connection: Connection, fault: Fault | None) -> None:
        if fault is not None and fault.hang:
            return
        if fault is not None and fault.reset:
            connection.abort()
            return
        answer: Answer | Subscription
        if fault is not None and fault.body is not None:
            answer = Answer(fault.status or 200, self.dialect.headers(fault.kind), fault.body)
        elif fault is not None and fault.status:
            answer = self.dialect.error(fault.status, fault.message)
        else:
            answer = reply(self, request, route(request))
        if isinstance(answer, Subscription):
            if request.method == "HEAD":
                connection.answer(Answer(200, self.dialect.headers()))
                return
            _Stream(self, connection, answer).begin()
        elif fault is not None and fault.cut_after is not None:
            short = Answer(answer.status, answer.headers, answer.body[: fault.cut_after])
            connection.answer(short, promise=len(answer.body))
        else:
            connection.answer(answer)

    def _touch(self) -> None:
        """Release waiters whose condition is met."""
        for condition, future in tuple(self._waiting):
            if future.done() or condition():
                self._waiting.remove((condition, future))
                if not future.done():
                    future.set_result(None)


class _Stream:
    """One client's event stream."""

    def __init__(self, engine: FakeEngine, connection: Connection, wish: Subscription) -> None:
        self.connection = connection
        self.filters = wish.filters
        self.old_fields = wish.old_fields
        self._engine = engine
        self._wish = wish
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Replay past events, then stay open until the time that the client requested."""
        engine, wish = self._engine, self._wish
        self.connection.stream(engine.dialect.headers())
        now = time.time_ns()
        past = wish.until is not None and wish.until <= now
        if not (past and engine.dialect.podman):  # Podman cancels its reader before it has read anything
            for event in engine.hub.replay(wish.since, wish.until):
                if matches(event, self.filters, engine.dialect):
                    self.send(event.encode(engine.dialect, old_fields=self.old_fields))
        if past:
            self.connection.end()
            return
        engine.hub.listeners.add(self)
        engine._streams.add(self)  # noqa: SLF001 # same module
        self.connection.on_close = self._leave
        if wish.until is not None:
            self._timer = asyncio.get_running_loop().call_later((wish.until - now) / 1e9, self.end)

    def send(self, line: bytes) -> None:
        """Send one event."""
        self.connection.chunk(line)

    def end(self) -> None:
        """End the stream cleanly."""
        self._leave()
        self.connection.end()

    def _leave(self) -> None:
        self.connection.on_close = None
        if self._timer is not None:
            self._timer.cancel()
        self._engine.hub.listeners.discard(self)
        with contextlib.suppress(KeyError):
            self._engine._streams.remove(self)  # noqa: SLF001
        self._engine._touch()  # noqa: SLF001
