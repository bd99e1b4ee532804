"""The event stream of one engine, line by line."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Self

import aiohttp
import msgspec

from pilotage.core.errors import EngineUnreachable
from pilotage.engine.types import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.engine.connection import Connection, Timeouts

__all__ = ["EventStream"]

_PATH: Final = "/events"
_LONGEST: Final = 64 * 2**20  # an event repeats its container's labels, and these know no limit; garbage does not end
_DECODER: Final = msgspec.json.Decoder(Event)


class EventStream:
    """What happens on an engine from now on: ``async with client.events() as stream: async for event in stream: ...``.

    Entering returns when the engine has begun to answer: what happens from then on is in the stream, so a list asked
    for inside misses nothing. The iteration ends only when :meth:`close` is called; a stream that is cut or ends by
    itself raises. Silence has no limit (ping the engine).

    Raises:
        EngineError: when the stream cannot be opened.
        EngineUnreachable: from the iteration, when it was cut, ended, or sent something else than events.

    """

    def __init__(self, connection: Connection, engine: str, query: Mapping[str, str], timeouts: Timeouts) -> None:
        self._connection = connection
        self._engine = engine
        self._query = query
        self._timeouts = timeouts
        self._response: aiohttp.ClientResponse | None = None
        self._ready: deque[Event] = deque()
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._garbage: Exception | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        response = await self._connection.stream(self._engine, _PATH, self._query, timeouts=self._timeouts)
        self._response = response
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the stream; an iteration under way just stops. May be repeated."""
        self._closed = True
        if self._response is not None:
            self._response.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            if self._closed or self._response is None:
                raise StopAsyncIteration
            if self._garbage is not None:
                raise EngineUnreachable(
                    self._engine,
                    "the event stream contains something that is not an event",
                    "check what answers at this address",
                ) from self._garbage
            await self._receive(self._response)
        return self._ready.popleft()

    async def _receive(self, response: aiohttp.ClientResponse) -> None:
        """Wait for more, and sort it into events."""
        async with self._connection.reading(self._engine, _PATH, self._timeouts):
            try:
                chunk = await response.content.readany()
            except aiohttp.ClientError:
                if self._closed:
                    return
                raise
        if not chunk and not self._closed:
            raise EngineUnreachable(
                self._engine, "the engine ended the event stream", "it may be stopping or restarting"
            )
        self._feed(chunk)

    def _feed(self, chunk: bytes) -> None:
        first, *others = chunk.split(b"\n")
        self._rest.append(first)
        self._rest_size += len(first)
        if self._rest_size > _LONGEST:
            self._garbage = ValueError("a line without end")
        for line in others:
            self._line(b"".join(self._rest))
            self._rest, self._rest_size = [line], len(line)

    def _line(self, line: bytes) -> None:
        """Decode a line. What follows garbage is not read, what came before it is delivered first."""
        if self._garbage is not None or not line.strip():
            return
        try:
            self._ready.append(_DECODER.decode(line))
        except msgspec.DecodeError as error:
            self._garbage = error
