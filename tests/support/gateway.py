"""A real Envoy with a real control plane on loopback, and small targets that echo their requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from pilotage.gateway.binary import find_envoy
from pilotage.routes.route import Endpoint, Route
from pilotage.routes.schema import RouteSettings
from pilotage.table.diff import diff
from pilotage.table.table import Table
from pilotage.xds.bootstrap import build_bootstrap
from pilotage.xds.options import GatewayOptions
from pilotage.xds.server import AdsServer
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    import trustme

    from pilotage.core.problems import Problem
    from pilotage.xds.resources import Key

__all__ = ["Gateway", "Target", "becomes", "gateway", "route", "server_context", "target"]


def route(alias: str, *ports: int, **fields: Any) -> Route:
    """Make a route to ports of loopback; keywords are settings or, such as ``endpoints``, fields of the route."""
    settings = {name: fields.pop(name) for name in list(fields) if name in _SETTINGS}
    fields.setdefault("endpoints", tuple(Endpoint("127.0.0.1", port, alias, f"id-{port}") for port in ports))
    return Route(
        **{
            "alias": alias,
            "provider": "local",
            "container": alias,
            "container_id": f"id-{alias}",
            "host": "127.0.0.1",
            "labelled": tuple(settings),
            "health_check": True,
            "settings": RouteSettings(**settings),
            "folders": None,
            **fields,
        }
    )


_SETTINGS = set(RouteSettings.__struct_fields__) - {"alias", "scheme", "host", "port", "bind"}


class Target:
    """An HTTP server on loopback that echoes each request as JSON.

    Attributes:
        port: where it listens.
        name: its name in responses.
        seen: each request's method, path and headers.

    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.handlers: dict[str, Any] = {}
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0, **options: Any) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, max_field_size=300_000, max_line_size=300_000
        )
        await self._runner.setup()
        backend = web.TCPSite(self._runner, "127.0.0.1", port, **options)
        await backend.start()
        self.port = backend._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((request.method, request.path_qs, headers))
        handler = self.handlers.get(request.path)
        if handler is not None:
            answer: web.StreamResponse = await handler(request)
            return answer
        body = await request.read()
        return web.json_response(
            {"by": self.name, "path": request.path_qs, "headers": headers, "received": len(body)},
            headers={"X-From": self.name},
        )


@contextlib.asynccontextmanager
async def target(name: str = "target", **options: Any) -> AsyncIterator[Target]:
    """Run a target."""
    made = Target(name)
    await made.start(**options)
    try:
        yield made
    finally:
        await made.stop()


async def becomes(ask: Callable[[], Awaitable[Any]], expected: Any, *, patience: float = 60) -> None:
    """Repeat the request until the result is the expected one."""
    async with asyncio.timeout(patience):
        while await ask() != expected:  # noqa: ASYNC110  the answer comes from another process
            await asyncio.sleep(0.02)


class Answer:
    """Response to a request."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def by(self) -> str:
        """Name of the target that responded; ``""`` for Envoy itself."""
        found: str = self.headers.get("X-From", "")
        return found


class Gateway:
    """An Envoy and its control plane."""

    def __init__(self, options: GatewayOptions, directory: Path, linger: float = 30.0) -> None:
        self.options = options
        self.directory = directory
        self.address = f"unix:{directory}/xds.sock"
        self.refused: list[Problem] = []
        self.ads = AdsServer(options, on_nack=self.refused.append, linger=linger)
        self.table = Table()
        self.process: asyncio.subprocess.Process | None = None
        self.client: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.options.http_port}"

    async def start(self) -> None:
        configuration = build_bootstrap(self.address, "test", admin=str(self.directory / "admin.sock"))
        path = self.directory / "envoy.json"
        path.write_text(json.dumps(configuration))
        command = [str(find_envoy()), "-c", str(path), "--use-dynamic-base-id", "--concurrency", "1"]
        with (self.directory / "envoy.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, stdout=log, stderr=log, start_new_session=True
            )

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    @contextlib.asynccontextmanager
    async def another(self, node: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a second Envoy of the same control plane. It has a network of its own, so that its ports are free."""
        path = self.directory / f"{node}.json"
        path.write_text(json.dumps(build_bootstrap(self.address, node, admin=str(self.directory / f"{node}.sock"))))
        command = ["unshare", "--map-root-user", "--net", str(find_envoy()), "-c", str(path)]
        with (self.directory / f"{node}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command, "--use-dynamic-base-id", "--concurrency", "1", stdout=log, stderr=log, start_new_session=True
            )
        try:
            async with asyncio.timeout(30):
                while node not in self.ads.nodes:  # noqa: ASYNC110  it happens in Envoy
                    await asyncio.sleep(0.02)
                await self.ads.wait_for_acks(node=node)
            yield process
        finally:
            process.kill()
            await process.wait()

    @property
    def log(self) -> str:
        return (self.directory / "envoy.log").read_text()

    async def publish(self, *routes: Route) -> frozenset[Key]:
        """Publish a table with these routes; return once Envoy has acknowledged it."""
        changed = self.publish_unheard(*routes)
        async with asyncio.timeout(20):
            await self.ads.wait_for_acks()
        return changed

    def publish_unheard(self, *routes: Route) -> frozenset[Key]:
        """Publish a table with these routes without waiting for Envoy."""
        from pilotage.discovery.update import Update

        old = self.table
        self.table = Table({it.alias: it for it in routes}, version=old.version + 1)
        return self.ads.publish(Update(old, self.table, diff(old, self.table)))

    async def ask(self, host: str, path: str = "/", method: str = "GET", **options: Any) -> Answer:
        """Request a host's page from Envoy."""
        headers = {"Host": host, **options.pop("headers", {})}
        url = options.pop("url", self.url)
        async with self.client.request(
            method, url + path, headers=headers, allow_redirects=False, auto_decompress=False, **options
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())


async def _listening(port: int) -> None:
    """Wait until Envoy's workers run: they start once its first configuration is complete."""
    async with asyncio.timeout(20):
        while port:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


@contextlib.asynccontextmanager
async def gateway(directory: Path, *, linger: float = 30.0, **options: Any) -> AsyncIterator[Gateway]:
    """Run an Envoy and its control plane in a directory."""
    settings = GatewayOptions(**{"http_address": "127.0.0.1", "http_port": free_port(), **options})
    made = Gateway(settings, directory, linger)
    client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30), cookie_jar=aiohttp.DummyCookieJar())
    async with made.ads, client as made.client:
        await made.ads.start(made.address)
        await made.start()
        try:
            await made.publish()
            await _listening(made.options.http_port)
            yield made
        finally:
            await made.stop()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Return the TLS context of a server with a certificate for these names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context
