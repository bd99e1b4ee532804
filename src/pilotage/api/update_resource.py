"""Serves the daemon's table and each of its updates to ``pilotage watch`` on the unix socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pilotage.api import answers
from pilotage.api.access import is_from_socket
from pilotage.api.snapshot import pack
from pilotage.api.streams import HEARTBEAT
from pilotage.api.table_updates import UPDATES_PATH, frame, pack_update

if TYPE_CHECKING:
    from aiohttp import web

    from pilotage.api.source import Source
    from pilotage.api.streams import Streams

__all__ = ["UpdateResource"]


class UpdateResource:
    """Handles the streams of updates.

    Args:
        source: the data to serve.
        streams: the streams of all clients.

    """

    def __init__(self, source: Source, streams: Streams) -> None:
        self._source = source
        self._streams = streams

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the path."""
        router.add_get(UPDATES_PATH, self._stream)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if not is_from_socket(request):
            return answers.error(403, "updates are only served on the unix socket, to pilotage's own commands")
        return await self._streams.serve(request, "application/octet-stream", self._write)

    async def _write(self, response: web.StreamResponse) -> None:
        discovery, is_first = self._source.discovery, True
        subscription = discovery.subscribe()
        try:
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        update = await anext(subscription, None)
                except TimeoutError:
                    await response.write(frame(b""))
                    continue
                if update is None:
                    return
                body = pack((), update.new, file=self._source.config_file) if is_first else pack_update(update)
                await response.write(frame(body))
                is_first = False
        finally:
            discovery.unsubscribe(subscription)
