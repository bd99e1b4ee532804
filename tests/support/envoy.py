"""A web server, a static Envoy configuration that routes to it, and a gateway that runs Envoy."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from pilotage.gateway.process import Gateway

__all__ = ["running", "static_bootstrap", "web_server"]


@contextlib.asynccontextmanager
async def web_server(
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] | None = None, *, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """Run a web server on loopback and yield its port. Without ``answer`` it responds ``hello``."""

    async def hello(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="hello\n")

    runner = web.ServerRunner(web.Server(answer or hello), shutdown_timeout=0.1)
    await runner.setup()
    try:
        port = await asyncio.to_thread(free_port)
        await web.TCPSite(runner, host, port).start()
        yield port
    finally:
        await runner.cleanup()


def static_bootstrap(port: int, upstream: int) -> dict[str, Any]:
    """Return an Envoy configuration with one listener for one web server, both on loopback."""
    manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "web"}}]
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    http = {
        "@type": f"type.googleapis.com/{manager}",
        "stat_prefix": "http",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "router", "typed_config": router}],
    }
    endpoint = {"endpoint": {"address": _place(upstream)}}
    assignment = {"cluster_name": "web", "endpoints": [{"lb_endpoints": [endpoint]}]}
    listener = {
        "name": "http",
        "address": _place(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": http}]}],
    }
    return {
        "static_resources": {
            "listeners": [listener],
            "clusters": [{"name": "web", "connect_timeout": "1s", "load_assignment": assignment}],
        }
    }


def _place(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextlib.asynccontextmanager
async def running(gateway: Gateway) -> AsyncIterator[asyncio.Task[None]]:
    """The gateway's task, once it is ready; cancelled at the end."""
    task = asyncio.create_task(gateway.run())
    ready = asyncio.create_task(gateway.ready())
    try:
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield task
    finally:
        ready.cancel()
        task.cancel()
        await asyncio.wait({task, ready})
