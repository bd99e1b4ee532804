"""Serves routes, everything about one route, and the latest changes.

The paths are ``/v1/routes``, ``/v1/routes/NAME`` and ``/v1/changes``. The ETag of a list stays the same until the
table, the Envoys' answers or the problems change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import ETag, web

from pilotage.api import answers
from pilotage.api.details import route_detail, route_source
from pilotage.api.history import RecordedChange
from pilotage.api.queries import QueryError, read_change_filter, read_route_filter
from pilotage.api.routes import RouteEntry, RouteIndex
from pilotage.core.hostnames import ascii_host
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten

if TYPE_CHECKING:
    from pilotage.api.routes import RouteSource
    from pilotage.api.source import Source

__all__ = ["ChangeList", "PoolJson", "RouteList", "RouteResource"]


class PoolJson(msgspec.Struct, frozen=True):
    """A pool.

    Attributes:
        members: aliases of the pool's routes, the leader first. The routes are served under the name of the pool.

    """

    members: tuple[str, ...]


class RouteList(msgspec.Struct, frozen=True, kw_only=True):
    """A list of routes.

    Attributes:
        version: version of the table.
        routes: alias -> route.
        pools: name of each pool -> its members.
        next: the value of the parameter `after` for the next page; null if this is the last page.
        total: number of all routes.
        matching: number of routes that match the parameters, on all pages.
        states: state -> number of routes that match the parameters other than `state`.

    """

    version: int
    routes: dict[str, RouteEntry]
    pools: dict[str, PoolJson]
    next: str | None
    total: int
    matching: int
    states: dict[str, int]


class ChangeList(msgspec.Struct, frozen=True, kw_only=True):
    """The latest changes, the newest first.

    Attributes:
        instance: a random text that changes whenever the daemon restarts. After a restart, versions begin again.
        version: version of the table.
        complete: whether all changes since the version in the parameter `since` are still remembered.
        changes: the changes.

    """

    instance: str
    version: int
    complete: bool
    changes: tuple[RecordedChange, ...]


class RouteResource:
    """Handles these paths of the API.

    Args:
        source: the data to serve.

    Attributes:
        index: finds routes.

    """

    def __init__(self, source: Source) -> None:
        self.index = RouteIndex()
        self._source = source

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the paths to a router."""
        router.add_get("/v1/routes", self._list)
        router.add_get("/v1/routes/{name:.+}", self._detail)
        router.add_get("/v1/changes", self._changes)

    async def _list(self, request: web.Request) -> web.Response:
        try:
            wanted = read_route_filter(request.query)
        except QueryError as error:
            return answers.error(400, error.message, error.hint)
        source = route_source(self._source)
        tag = self._tag(source)
        if _has(request, tag):
            return _unchanged(tag)
        page = self.index.page(source, wanted)
        found = answers.in_turns(page.aliases, lambda alias: (alias, source.entry(alias)))
        body = RouteList(
            version=page.version,
            routes=dict([item async for item in found]),
            pools={name: PoolJson(members) for name, members in source.table.pools().items()},
            next=page.next,
            total=page.total,
            matching=page.matching,
            states=page.counts,
        )
        sent = answers.in_turns(body.routes.items(), lambda item: (item[0], item[1].to_json()))
        flat = msgspec.structs.asdict(body) | {"routes": dict([item async for item in sent])}
        return _tagged(answers.json(flat), tag)

    def _tag(self, source: RouteSource) -> str:
        """Return the version of all data in lists of routes."""
        history = self._source.history
        others = hash((source.problems, self._source.gateway_ports)) & 0xFFFFFFFF
        return f"{source.table.version}-{self._source.revision}-{others:x}-{history.instance}"

    async def _detail(self, request: web.Request) -> web.Response:
        name = ascii_host(request.match_info["name"])
        found = await route_detail(self._source, name)
        if found is not None:
            return answers.json(found.to_json())
        table = self._source.discovery.table
        members = table.pool_members.get(name)
        hint = f"it is the pool of {', '.join(members[:8])}" if members else did_you_mean(name, sorted(table.routes))
        return answers.error(404, f"no route is called {shorten(name)!r}", hint or "/v1/routes lists all routes")

    async def _changes(self, request: web.Request) -> web.Response:
        try:
            wanted = read_change_filter(request.query)
        except QueryError as error:
            return answers.error(400, error.message, error.hint)
        history, version = self._source.history, self._source.discovery.table.version
        tag = f"{history.last_id}-{history.instance}"
        if _has(request, tag):
            return _unchanged(tag)
        body = ChangeList(
            instance=history.instance,
            version=version,
            complete=history.is_complete(wanted.since, version),
            changes=tuple(history.select(wanted)),
        )
        return _tagged(answers.json(body), tag)


def _has(request: web.Request, tag: str) -> bool:
    """Return whether the client already has this version of the response (RFC 9110, 13.1.2)."""
    known = request.if_none_match
    return bool(known) and any(it.value in (tag, "*") for it in known or ())


def _unchanged(tag: str) -> web.Response:
    return _tagged(web.Response(status=304), tag)


def _tagged(response: web.Response, tag: str) -> web.Response:
    response.etag = ETag(tag)
    response.headers["Cache-Control"] = "no-cache"  # keep it, but ask whether it has changed
    return response
