"""Serves the daemon's HTTP API: routes, containers, problems, events, health and metrics.

:mod:`pilotage.api.access` decides which requests are answered; :mod:`pilotage.api.connections` limits what one client
can use up.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from aiohttp import web

from pilotage.api import answers, openapi
from pilotage.api.access import Refusal, is_from_socket, is_writing, refusal, visitor
from pilotage.api.certificates import CertificateResource
from pilotage.api.connections import SERVER, Connections, serving
from pilotage.api.engines import engines_json
from pilotage.api.envoys import envoy_json
from pilotage.api.listen import Listen, remove_socket, start_socket
from pilotage.api.metrics import CONTENT_TYPE
from pilotage.api.pages import prefers_html
from pilotage.api.route_resource import RouteResource
from pilotage.api.sleep import SleepResource, explain_sleep, route_metrics
from pilotage.api.snapshot import SNAPSHOT_PATH, pack
from pilotage.api.traffic import changed_traffic, traffic_json
from pilotage.core.errors import ConfigError, GatewayError
from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import safe_json, shorten
from pilotage.core.values import FALSE
from pilotage.output.explain import explain_name, known_names
from pilotage.output.json import change_json, container_json, problem_json, route_on_envoys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from pilotage.api.pages import Pages
    from pilotage.api.source import Source
    from pilotage.table.diff import Change
    from pilotage.table.table import Table
    from pilotage.table.traffic import RouteTraffic

__all__ = ["Api"]

log = logging.getLogger(__name__)

_HEARTBEAT: Final = 15.0  # seconds between comments on a quiet event stream, which detect disconnected clients
_TRAFFIC: Final = 5.0  # seconds between two traffic events
_MOST_STREAMS: Final = 100  # so that event streams never occupy all connections


class Api:
    """Serves the API inside an ``async with Api(...) as api`` block.

    Args:
        source: the data to serve.
        listen: the addresses to listen on.
        token: bearer token; ``""`` for none. Addresses that are not local require a token.
        if_free: whether to log a warning for an address that cannot be used, instead of failing.
        pages: pages for people on the same addresses; ``None`` for none.

    Attributes:
        places: the addresses on which the API listens; port 0 is replaced with the actual port.

    Raises:
        ConfigError: an address is not local and ``token`` is empty, or the API cannot listen on an address.

    """

    def __init__(
        self,
        source: Source,
        listen: Iterable[Listen],
        *,
        token: str = "",
        if_free: bool = False,
        pages: Pages | None = None,
    ) -> None:
        self.source = source
        self._pages = pages
        self.places: list[Listen] = []
        self._listen = tuple(listen)
        self._if_free = if_free
        self._token = token.encode()
        self._streams: set[asyncio.Task[Any]] = set()
        unguarded = [place for place in self._listen if not place.is_local and not token]
        if unguarded:
            hint = "set api.token_file, or listen on 127.0.0.1 or a unix socket"
            raise ConfigError(
                [Problem(message=f"the API would be open to everyone on {place}", hint=hint) for place in unguarded]
            )
        self._names = frozenset(place.host.lower() for place in self._listen if place.host)
        self._runner: web.AppRunner | None = None
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._index)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/metrics/envoy", self._envoy_metrics)
        app.router.add_get("/openapi.json", self._openapi)
        app.router.add_get("/v1/containers", self._containers)
        app.router.add_get("/v1/problems", self._problems)
        app.router.add_get("/v1/engines", self._engines)
        app.router.add_get("/v1/envoys", self._envoys)
        app.router.add_get("/v1/traffic", self._traffic)
        app.router.add_get("/v1/explain/{name:.+}", self._explain)
        app.router.add_get("/v1/events", self._events)
        RouteResource(self.source).add_to(app.router)
        SleepResource(lambda: self.source.sleeper).add_to(app.router)
        CertificateResource(lambda: self.source.certificates).add_to(app.router)
        app.router.add_get(SNAPSHOT_PATH, self._snapshot)
        if self._pages is not None:
            self._pages.add_to(app.router)
        app.on_response_prepare.append(_hide_version)
        app.on_shutdown.append(self._end_streams)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2, handle_signals=False)
        await self._runner.setup()
        try:
            for place in self._listen:
                try:
                    self.places.append(await self._start(self._runner.server, place))
                except ConfigError as error:
                    if not self._if_free:
                        raise
                    log.warning("%s", error)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()
        for place in self.places:
            if place.path:
                remove_socket(place.path)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _start(self, server: web.Server | None, place: Listen) -> Listen:
        assert server is not None  # noqa: S101  # the runner has been set up
        connections = Connections(server)
        try:
            if place.path:
                self._servers.append(await start_socket(connections, place.path, connections.backlog))
                return place
            listening = await asyncio.get_running_loop().create_server(
                connections, place.host, place.port, backlog=connections.backlog
            )
        except OSError as error:
            text = error.strerror if error.errno and error.strerror else str(error)
            hint = "choose another address with --api, or stop the process that uses it"
            raise ConfigError([Problem(message=f"the API cannot listen on {place}: {text}", hint=hint)]) from error
        self._servers.append(listening)
        return msgspec.structs.replace(place, port=listening.sockets[0].getsockname()[1])

    # ---- access

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        pages = self._pages
        signed_in = pages is not None and pages.is_signed_in(request)
        for_everybody = pages is not None and pages.is_open(request.path)
        refused = refusal(request, self._names, self._token, signed_in=signed_in, for_everybody=for_everybody)
        if refused is not None:
            return self._error(request, refused)
        if is_writing(request) and not for_everybody:
            log.info("%s %s %s", request.method, shorten(request.path), visitor(request, self._token))
        try:
            with serving(request):
                return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                return _redirect(error)
            what = "not found" if error.status == 404 else error.reason.lower()
            text = f"{what}: {request.method} {shorten(request.path)}"
            return self._error(request, Refusal(error.status, text, "GET / lists all paths"))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("request %s %s failed", request.method, shorten(request.path))
            return answers.error(500, "internal error; see pilotage's log")

    def _error(self, request: web.Request, refused: Refusal) -> web.Response:
        """Return a page for browsers, JSON for other programs and for paths that never have pages."""
        if self._pages is not None and prefers_html(request) and not request.path.startswith("/v1/"):
            response = self._pages.error(request, refused)
        else:
            response = answers.error(refused.status, refused.message, refused.hint)
        if refused.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    # ---- health

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        why = self.source.not_ready()
        return web.Response(text="ready\n" if not why else f"not ready: {why}\n", status=503 if why else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        pieces = answers.in_turns(route_metrics(await self.source.traffic(), self.source.sleeper), bytes)
        body = self.source.metrics.text() + b"".join([piece async for piece in pieces])
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _envoy_metrics(self, _: web.Request) -> web.Response:
        try:
            body = await self.source.gateway_statistics()
        except GatewayError as error:
            return answers.error(503, error.what, error.remedy)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    # ---- state

    async def _index(self, request: web.Request) -> web.StreamResponse:
        if self._pages is not None and prefers_html(request):
            return await self._pages.home(request)
        return answers.json({"paths": sorted(openapi.document()["paths"])})

    async def _openapi(self, _: web.Request) -> web.Response:
        return answers.json(openapi.document())

    async def _containers(self, _: web.Request) -> web.Response:
        listed = [container for snapshot in self.source.discovery.snapshots() for container in snapshot.containers]
        return answers.json({"containers": [item async for item in answers.in_turns(listed, container_json)]})

    async def _problems(self, _: web.Request) -> web.Response:
        return answers.json({"problems": [problem_json(problem) for problem in self.source.problems()]})

    async def _engines(self, _: web.Request) -> web.Response:
        return answers.json({"engines": engines_json(self.source.discovery)})

    async def _envoys(self, _: web.Request) -> web.Response:
        version, states = self.source.discovery.table.version, self.source.envoys()

        def convert(alias: str) -> tuple[str, dict[str, Any]]:
            return alias, route_on_envoys(self.source.route_states(alias))

        aliases = sorted(self.source.discovery.table.routes)
        routes = {alias: found async for alias, found in answers.in_turns(aliases, convert) if found}
        return answers.json({"version": version, "envoys": [envoy_json(state) for state in states], "routes": routes})

    async def _traffic(self, _: web.Request) -> web.Response:
        traffic = await self.source.traffic()
        routes = [it async for it in answers.in_turns(traffic, lambda name: (name, traffic_json(traffic[name])))]
        return answers.json({"routes": dict(routes)})

    async def _explain(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        snapshots = self.source.discovery.snapshots()
        files = self.source.discovery.files()
        wanted = request.query.get("show_secrets", "") not in FALSE | {""}
        if wanted and not is_from_socket(request):
            return answers.error(403, "secrets are only shown on the unix socket", "remove show_secrets")
        found = explain_name(name, snapshots, self.source.discovery.table, files, show_secrets=wanted)
        if not found.containers and not found.files:
            hint = did_you_mean(name, known_names(snapshots, files))
            return answers.error(404, f"no container or alias is called {shorten(name)!r}", hint)
        return answers.json(msgspec.to_builtins(found))

    async def _snapshot(self, request: web.Request) -> web.Response:
        if not is_from_socket(request):
            return answers.error(403, "snapshots are only served on the unix socket, to pilotage's own commands")
        discovery = self.source.discovery
        known = set(discovery.table.problems)
        others = [problem for problem in self.source.problems() if problem not in known]
        on_envoys, file = {}, self.source.config_file
        if "envoys" in request.query:
            aliases = sorted(discovery.table.routes)
            found = answers.in_turns(aliases, lambda alias: (alias, self.source.route_states(alias)))
            on_envoys = {alias: dict(states) async for alias, states in found if states}
        table, files = explain_sleep(discovery.table, self.source.sleeper), discovery.files()
        body = pack(discovery.snapshots(), table, others, files=files, file=file, on_envoys=on_envoys)
        return web.Response(body=body, content_type="application/msgpack")

    # ---- events

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Stream all routes, then changes; with ``?traffic``, also statistics. A ``table`` event ends each batch.

        With ``?only=table``, there are only ``table`` events.
        """
        if len(self._streams) >= _MOST_STREAMS:
            return answers.error(503, f"there are already {_MOST_STREAMS} event streams", "close one of them")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # always set in a coroutine
        self._streams.add(task)
        subscription, loop = self.source.discovery.subscribe(), asyncio.get_running_loop()
        known: Mapping[str, RouteTraffic] | None = {} if "traffic" in request.query else None
        due = loop.time() if known is not None else math.inf
        try:
            await response.prepare(request)
            while True:
                try:
                    async with asyncio.timeout_at(min(due, loop.time() + _HEARTBEAT)):
                        update = await anext(subscription)
                except TimeoutError:
                    await response.write(b": nothing new\n\n")
                    if known is not None:
                        now = await self.source.traffic()
                        if found := changed_traffic(known, now):
                            await response.write(_event("traffic", found, self.source.discovery.table.version))
                        known, due = now, loop.time() + _TRAFFIC
                    continue
                except StopAsyncIteration:
                    break
                changes = () if request.query.get("only") == "table" else update.changes
                async for event in answers.in_turns(changes, _event_of(update.new)):
                    await response.write(event)
                await response.write(_event("table", {"version": update.new.version}, update.new.version))
        except ConnectionError:  # the client disconnected
            pass
        finally:
            self.source.discovery.unsubscribe(subscription)
            self._streams.discard(task)
        return response

    async def _end_streams(self, _: web.Application) -> None:
        streams, self._streams = self._streams, set()
        for task in streams:
            task.cancel()


def _redirect(found: web.HTTPException) -> web.Response:
    """Return a redirect without the text of aiohttp. Cookies and other headers stay."""
    response = web.Response(status=found.status, headers={"Location": found.headers["Location"]})
    response.cookies.update(found.cookies)
    return response


async def _hide_version(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER


# ---- serialization ------------------------------------------------------------------------------------------------


def _event_of(table: Table) -> Callable[[Change], bytes]:
    def convert(change: Change) -> bytes:
        return _event(change.kind, change_json(change, table), table.version)

    return convert


def _event(kind: str, data: Any, version: int) -> bytes:
    return b"event: %s\nid: %d\ndata: %s\n\n" % (kind.encode(), version, safe_json(msgspec.json.encode(data)))
