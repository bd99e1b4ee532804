"""Serves ``/v1/events``: a stream of changes to routes, engines, problems and certificates, and of statistics."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from pilotage.api import answers
from pilotage.api.streams import HEARTBEAT
from pilotage.api.traffic import changed_traffic
from pilotage.core.text import safe_json
from pilotage.output.json import change_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web

    from pilotage.api.certificates import CertificateSource
    from pilotage.api.streams import Streams
    from pilotage.certificates.status import CertificateEvent
    from pilotage.discovery.manager import DiscoveryManager
    from pilotage.discovery.update import Update
    from pilotage.table.diff import Change
    from pilotage.table.table import Table
    from pilotage.table.traffic import RouteTraffic

__all__ = ["EventResource"]

_TRAFFIC: Final = 5.0  # seconds between two traffic events
_MOST_WAITING: Final = 200  # certificate events that a slow client has not read yet


class EventSource(Protocol):
    """The objects whose changes are streamed."""

    discovery: DiscoveryManager

    @property
    def certificates(self) -> CertificateSource | None:
        """The object that obtains certificates; ``None`` if there is none here."""

    async def traffic(self) -> Mapping[str, RouteTraffic]:
        """Return name -> request statistics, for each route and pool."""


class EventResource:
    """Handles the event streams of all clients.

    Args:
        source: the objects whose changes are streamed.
        streams: the streams of all clients.

    """

    def __init__(self, source: EventSource, streams: Streams) -> None:
        self._source = source
        self._streams = streams

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the path."""
        router.add_get("/v1/events", self._stream)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        with_traffic, only_versions = "traffic" in request.query, request.query.get("only") == "table"

        async def write(response: web.StreamResponse) -> None:
            await _Stream(self._source, response, with_traffic=with_traffic, only_versions=only_versions).run()

        return await self._streams.serve(request, "text/event-stream", write)


class _Stream:
    """One client's stream: all routes, then changes; with statistics, or only versions, if the client asks for them."""

    def __init__(
        self, source: EventSource, response: web.StreamResponse, *, with_traffic: bool, only_versions: bool
    ) -> None:
        self._source = source
        self._only_versions = only_versions
        self._response = response
        self._known: Mapping[str, RouteTraffic] = {}
        self._due = asyncio.get_running_loop().time() if with_traffic else math.inf
        self._certificates: deque[CertificateEvent] = deque(maxlen=_MOST_WAITING)
        self._has_certificates = asyncio.Event()

    async def run(self) -> None:
        """Write events until discovery ends.

        Raises:
            ConnectionError: the client has disconnected.

        """
        subscription, certificates = self._source.discovery.subscribe(), self._source.certificates
        if certificates is not None:
            certificates.on_event.append(self._add)
        updates = asyncio.ensure_future(anext(subscription, None))
        try:
            while True:
                news = asyncio.ensure_future(self._has_certificates.wait())
                wait = min(self._due - asyncio.get_running_loop().time(), HEARTBEAT)
                done, _ = await asyncio.wait(
                    (updates, news), timeout=max(0.0, wait), return_when=asyncio.FIRST_COMPLETED
                )
                news.cancel()
                if updates in done:
                    if (update := updates.result()) is None:
                        return
                    updates = asyncio.ensure_future(anext(subscription, None))
                    await self._write_update(update)
                await self._write_certificates()
                if not done:
                    await self._response.write(b": nothing new\n\n")
                if asyncio.get_running_loop().time() >= self._due:
                    await self._write_traffic()
        finally:
            updates.cancel()
            if certificates is not None:
                certificates.on_event.remove(self._add)
            self._source.discovery.unsubscribe(subscription)

    def _add(self, event: CertificateEvent) -> None:
        if self._only_versions:
            return
        self._certificates.append(event)
        self._has_certificates.set()

    async def _write_update(self, update: Update) -> None:
        changes = () if self._only_versions else update.changes
        async for event in answers.in_turns(changes, _event_of(update.new)):
            await self._response.write(event)
        await self._response.write(_event("table", {"version": update.new.version}, update.new.version))

    async def _write_certificates(self) -> None:
        self._has_certificates.clear()
        while self._certificates:
            event = self._certificates.popleft()
            found = _event("certificate", msgspec.to_builtins(event), self._source.discovery.table.version)
            await self._response.write(found)

    async def _write_traffic(self) -> None:
        """Write the statistics that have changed since the previous event."""
        now = await self._source.traffic()
        if found := changed_traffic(self._known, now):
            await self._response.write(_event("traffic", found, self._source.discovery.table.version))
        self._known, self._due = now, asyncio.get_running_loop().time() + _TRAFFIC


def _event_of(table: Table) -> Callable[[Change], bytes]:
    def convert(change: Change) -> bytes:
        return _event(change.kind, change_json(change, table), table.version)

    return convert


def _event(kind: str, data: Any, version: int) -> bytes:
    return b"event: %s\nid: %d\ndata: %s\n\n" % (kind.encode(), version, safe_json(msgspec.json.encode(data)))
