"""Keeps the responses that never end: limits how many there are, and ends them when the API shuts down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from pilotage.api import answers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["HEARTBEAT", "Streams"]

HEARTBEAT: Final = 15.0
"""Seconds after which something is written on a quiet stream, which detects disconnected clients."""

_MOST_STREAMS: Final = 100  # so that streams never occupy all connections


class Streams:
    """The streams of all clients."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def add_to(self, app: web.Application) -> None:
        """End the streams when the application shuts down."""
        app.on_shutdown.append(self._end)

    async def serve(
        self, request: web.Request, kind: str, write: Callable[[web.StreamResponse], Awaitable[None]]
    ) -> web.StreamResponse:
        """Respond with a stream.

        Args:
            request: the request.
            kind: the content type.
            write: writes the stream; may raise ConnectionError if the client disconnects.

        Returns:
            The response, once the stream has ended; 503 if there are too many streams.

        """
        if len(self._tasks) >= _MOST_STREAMS:
            return answers.error(503, f"there are already {_MOST_STREAMS} event streams", "close one of them")
        response = web.StreamResponse(headers={"Content-Type": kind, "Cache-Control": "no-store"})
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # always set in a coroutine
        self._tasks.add(task)
        try:
            await response.prepare(request)
            await write(response)
        except ConnectionError:  # the client disconnected
            pass
        finally:
            self._tasks.discard(task)
        return response

    async def _end(self, _: web.Application) -> None:
        streams, self._tasks = self._tasks, set()
        for task in streams:
            task.cancel()
