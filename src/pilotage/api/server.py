"""Serves the daemon's HTTP API: routes, containers, problems, events, health and metrics.

:mod:`pilotage.api.access` decides which requests are answered. :mod:`pilotage.api.connections` limits the resources
that one client can use.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Self

import msgspec
from aiohttp import web

from pilotage.api import answers, openapi
from pilotage.api.access import Refusal, is_from_socket, is_writing, refusal, visitor
from pilotage.api.certificates import CertificateResource, explain_certificates
from pilotage.api.connections import SERVER, Connections, serving
from pilotage.api.engines import describe_engines
from pilotage.api.envoys import describe_envoy
from pilotage.api.events import EventResource
from pilotage.api.gateway_entry import ENTRY, GatewayEntry
from pilotage.api.listen import Listen, remove_socket, start_socket
from pilotage.api.lists import ContainerList, EngineList, EnvoyList, ProblemList, TrafficList
from pilotage.api.metrics import CONTENT_TYPE
from pilotage.api.pages import prefers_html
from pilotage.api.route_resource import RouteResource
from pilotage.api.sleep import SleepResource, explain_sleep, route_metrics
from pilotage.api.snapshot import SNAPSHOT_PATH, pack
from pilotage.api.streams import Streams
from pilotage.api.traffic import route_traffic
from pilotage.api.update_resource import UpdateResource
from pilotage.core.errors import ConfigError, GatewayError
from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.core.values import FALSE
from pilotage.output.explain import explain_name, known_names
from pilotage.output.json import describe_container, describe_problem
from pilotage.xds import read_rule_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from pilotage.api.pages import Pages
    from pilotage.api.source import Source
    from pilotage.table.envoys import RouteState

__all__ = ["Api"]

log = logging.getLogger(__name__)


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
        entry: the port for requests that come through the gateway.

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
        self.entry = GatewayEntry()
        self._listen = tuple(listen)
        self._if_free = if_free
        self._token = token.encode()
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
        app[ENTRY] = self.entry
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
        streams = Streams()
        streams.add_to(app)
        EventResource(self.source, streams).add_to(app.router)
        UpdateResource(self.source, streams).add_to(app.router)
        RouteResource(self.source).add_to(app.router)
        SleepResource(lambda: self.source.sleeper).add_to(app.router)
        CertificateResource(lambda: self.source.certificates).add_to(app.router)
        app.router.add_get(SNAPSHOT_PATH, self._snapshot)
        if self._pages is not None:
            self._pages.add_to(app.router)
        app.on_response_prepare.append(_add_headers)
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

    async def open_entry(self, *, may_read: bool) -> None:
        """Open the port for requests that come through the gateway, unless it is open.

        Args:
            may_read: whether the gateway admits only users who may see the dashboard.

        Raises:
            ConfigError: no port is available.

        """
        assert self._runner is not None  # noqa: S101  # the API is running
        if not self.entry.port:
            self.entry.port = (await self._start(self._runner.server, Listen(host="127.0.0.1"))).port
        self.entry.may_read = may_read

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
        known = {"signed_in": signed_in, "for_everybody": for_everybody}
        refused = refusal(request, self._names, self._token, **known, entry=self.entry)
        if refused is not None:
            return self._error(request, refused)
        if is_writing(request) and not for_everybody:
            log.info("%s %s %s", request.method, shorten(request.path), visitor(request, self._token, self.entry))
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
        return answers.json(ContainerList([item async for item in answers.in_turns(listed, describe_container)]))

    async def _problems(self, _: web.Request) -> web.Response:
        return answers.json(ProblemList([describe_problem(problem) for problem in self.source.problems()]))

    async def _engines(self, _: web.Request) -> web.Response:
        return answers.json(EngineList(describe_engines(self.source.discovery)))

    async def _envoys(self, _: web.Request) -> web.Response:
        version, states = self.source.discovery.table.version, self.source.envoys()

        def convert(alias: str) -> tuple[str, dict[str, RouteState]]:
            return alias, dict(sorted(self.source.route_states(alias).items()))

        aliases = sorted(self.source.discovery.table.routes)
        routes = {alias: found async for alias, found in answers.in_turns(aliases, convert) if found}
        return answers.json(EnvoyList(version, list(map(describe_envoy, states)), routes))

    async def _traffic(self, _: web.Request) -> web.Response:
        traffic = await self.source.traffic()
        routes = [it async for it in answers.in_turns(traffic, lambda name: (name, route_traffic(traffic[name])))]
        return answers.json(TrafficList(dict(routes)))

    async def _explain(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        snapshots = self.source.discovery.snapshots()
        files = self.source.discovery.files()
        wanted = request.query.get("show_secrets", "") not in FALSE | {""}
        if wanted and not is_from_socket(request):
            return answers.error(403, "secrets are only shown on the unix socket", "remove show_secrets")
        table = explain_certificates(self.source.discovery.table, self.source.certificates)
        found = explain_name(name, snapshots, table, files, show_secrets=wanted, with_rules=read_rule_file)
        if not found.containers and not found.files:
            hint = did_you_mean(name, known_names(snapshots, files))
            return answers.error(404, f"no container or alias is called {shorten(name)!r}", hint)
        return answers.json(found)

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
        table = explain_certificates(table, self.source.certificates)
        body = pack(discovery.snapshots(), table, others, files=files, file=file, on_envoys=on_envoys)
        return web.Response(body=body, content_type="application/msgpack")


def _redirect(found: web.HTTPException) -> web.Response:
    """Return a redirect without aiohttp's text. It keeps cookies and other headers."""
    response = web.Response(status=found.status, headers={"Location": found.headers["Location"]})
    response.cookies.update(found.cookies)
    return response


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER
    response.headers["X-Content-Type-Options"] = "nosniff"
    # Otherwise a page from elsewhere could find out which icons exist, and so which services there are.
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
