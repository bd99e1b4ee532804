"""Reads the event stream of one engine, line by line."""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from typing import TYPE_CHECKING, Final, Self

import msgspec

from pilotage.core.errors import EngineUnreachable
from pilotage.engine.types import DECODE_ERRORS, Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.engine.connection import Connection, Timeouts
    from pilotage.engine.http_response import EngineResponse

__all__ = ["EventStream"]

_PATH: Final = "/events"
_LINE_LIMIT: Final = 4 * 2**20  # bytes; an event repeats its container's labels
_DECODER: Final = msgspec.json.Decoder(Event)
_BEGINS_EVENT: Final = re.compile(rb"\s*(?:\{|$)").match


class EventStream:
    """The events of an engine from now on: ``async with client.events() as stream: async for event in stream: ...``.

    ``async with`` returns once the engine has started its response. The stream has every later event, so no change is
    missed if the list is requested inside the block. Only :meth:`close` ends the iteration normally. The stream may be
    silent for any length of time; to check the engine, ping it.

    An agent starts its response only when the first event occurs. Behind an agent, ``async with`` therefore returns
    once the request has been sent. While :attr:`is_confirmed` is false, events may be missed, so list again soon.

    Raises:
        EngineError: the stream cannot be opened.
        EngineUnreachable: during iteration, the stream broke or ended, or it contained an event longer than 4 MiB or
            something that is not an event.

    """

    def __init__(self, connection: Connection, engine: str, query: Mapping[str, str], timeouts: Timeouts) -> None:
        self._connection = connection
        self._engine = engine
        self._query = query
        self._timeouts = timeouts
        self._response: EngineResponse | None = None
        self._ready: deque[Event] = deque()
        self._partial = bytearray()
        self._began = 0.0  # loop time at which the partial event began
        self._invalid: Exception | None = None
        self._closed = False
        self._opening: asyncio.Task[EngineResponse] | None = None

    async def __aenter__(self) -> Self:
        if self._connection.address.scheme != "agent":
            self._response = await self._open(self._timeouts)
            return self
        patient = msgspec.structs.replace(self._timeouts, request=math.inf)
        self._opening = asyncio.create_task(self._open(patient), name=f"subscription to {self._engine}")
        try:
            await asyncio.sleep(0)  # sends the request if a connection is open, as it is after the negotiation
        except asyncio.CancelledError:
            self._opening.cancel()
            raise
        return self

    async def _open(self, timeouts: Timeouts) -> EngineResponse:
        return await self._connection.stream(self._engine, _PATH, self._query, timeouts=timeouts)

    async def __aexit__(self, *_: object) -> None:
        self.close()
        if self._opening is not None:
            await asyncio.wait([self._opening])
            if not self._opening.cancelled() and self._opening.exception() is None:
                self._opening.result().close()

    @property
    def is_confirmed(self) -> bool:
        """Whether the engine has started its response."""
        return self._response is not None

    def waiting_for_end(self) -> float:
        """Return how many seconds the stream has been in the middle of an event. Engines send each event as a whole."""
        return asyncio.get_running_loop().time() - self._began if self._partial else 0.0

    def close(self) -> None:
        """End the stream. A running iteration stops without an error. Idempotent."""
        self._closed = True
        if self._response is not None:
            self._response.close()
        elif self._opening is not None:
            self._opening.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            if self._response is None and self._opening is not None and not self._closed:
                await self._confirm(self._opening)
            if self._closed or self._response is None:
                raise StopAsyncIteration
            if self._invalid is not None:
                raise EngineUnreachable(
                    self._engine,
                    "the event stream contains something that is not an event",
                    "check what is listening at this address",
                ) from self._invalid
            await self._receive(self._response)
        return self._ready.popleft()

    async def _confirm(self, opening: asyncio.Task[EngineResponse]) -> None:
        """Wait for the response to begin. Cancelling this wait does not end the subscription."""
        await asyncio.wait([opening])
        if not opening.cancelled():
            self._response = opening.result()

    async def _receive(self, response: EngineResponse) -> None:
        """Wait for more data and parse its events."""
        async with self._connection.reading(self._engine, _PATH, self._timeouts):
            try:
                chunk = await response.read()
            except OSError:
                if self._closed:
                    return
                raise
        if not chunk and not self._closed:
            raise EngineUnreachable(
                self._engine, "the engine ended the event stream", "it may be stopping or restarting"
            )
        if not self._partial or b"\n" in chunk:
            self._began = asyncio.get_running_loop().time()
        self._feed(chunk)

    def _feed(self, chunk: bytes) -> None:
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            if self._partial:
                line = bytes(self._partial + line)  # noqa: PLW2901
                self._partial.clear()
            self._parse_line(line)
        self._partial += rest
        if self._invalid is not None:
            self._partial.clear()
        elif len(self._partial) > _LINE_LIMIT:
            self._invalid = ValueError("the line is too long")
        elif not _BEGINS_EVENT(self._partial):  # garbage without a line end would never be parsed
            self._invalid = ValueError("the line is not an object")

    def _parse_line(self, line: bytes) -> None:
        """Decode a line. After an invalid line, ignore the rest; events before it are still delivered."""
        if self._invalid is not None or not line.strip():
            return
        try:
            event = _DECODER.decode(line)
        except DECODE_ERRORS as error:
            self._invalid = error
            return
        if not event.Type:
            self._invalid = ValueError("the object has no Type")
            return
        self._ready.append(event)
