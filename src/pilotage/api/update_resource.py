"""Serves the daemon's table and each of its updates to ``pilotage watch`` on the unix socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pilotage.api import answers
from pilotage.api.access import is_from_socket
from pilotage.api.snapshot import pack
from pilotage.api.streams import HEARTBEAT
from pilotage.api.table_updates import UPDATES_PATH, frame, pack_update
from pilotage.discovery.update import Update

if TYPE_CHECKING:
    from aiohttp import web

    from pilotage.api.source import Source
    from pilotage.api.streams import Streams
    from pilotage.core.problems import Problem
    from pilotage.table.table import Table

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
        discovery = self._source.discovery
        subscription = discovery.subscribe()
        sent: Table | None = None
        told: tuple[Problem, ...] = ()
        try:
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        update = await anext(subscription, None)
                except TimeoutError:
                    others = self._others(discovery.table)
                    is_news = sent is not None and others != told
                    body = pack_update(Update(sent, sent, ()), others) if sent is not None and is_news else b""
                else:
                    if update is None:
                        return
                    others = self._others(update.new)
                    is_first, sent = sent is None, update.new
                    body = pack((), sent, others, file=self._source.config_file) if is_first else b""
                    body = body or pack_update(update, others)
                told = others
                await response.write(frame(body))
        finally:
            discovery.unsubscribe(subscription)

    def _others(self, table: Table) -> tuple[Problem, ...]:
        """Return the problems that are not in the table, such as what Envoys reject."""
        known = set(table.problems)
        return tuple(problem for problem in self._source.problems() if problem not in known)
