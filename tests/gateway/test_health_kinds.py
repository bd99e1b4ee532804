"""Probes of every kind of target by a real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme
from aiohttp import web

from tests.support.gateway import route, server_context, target
from tests.support.ports import free_port
from tests.support.probes import CHECK, probing
from tests.support.rpc import grpc_server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.slow]

_BY_STATUS = {
    **dict.fromkeys((200, 204, 302, 401, 404, 429), "healthy"),
    **dict.fromkeys((500, 501, 503, 599), "unhealthy"),
}


async def test_any_response_but_an_error_of_the_server_is_healthy(tmp_path: Path) -> None:
    async def respond(request: web.Request) -> web.Response:
        return web.Response(status=int(request.path[1:]))

    async with target() as it, probing(tmp_path) as probed:
        it.handlers = {f"/{status}": respond for status in _BY_STATUS}
        checks = {status: msgspec.structs.replace(CHECK, path=f"/{status}") for status in _BY_STATUS}
        probed.publish(*(route(f"s{status}", it.port, healthcheck=check) for status, check in checks.items()))
        await probed.finds(**{f"s{status}": {it.port: state} for status, state in _BY_STATUS.items()})


async def test_targets_of_every_scheme_are_probed_as_requests_reach_them(tmp_path: Path) -> None:
    context = server_context(trustme.CA(), "127.0.0.1")
    server, rpc = await grpc_server()
    nobody = free_port()
    async with target() as plain, target(ssl_context=context) as secure, probing(tmp_path) as probed:
        found = {
            "plain": (route("plain", plain.port, healthcheck=CHECK), "healthy"),
            "h2c": (route("h2c", rpc, scheme="h2c", healthcheck=CHECK), "healthy"),
            "http1": (route("http1", plain.port, scheme="h2c", healthcheck=CHECK), "unhealthy"),
            "any": (route("any", secure.port, scheme="https", no_tls_verify=True, healthcheck=CHECK), "healthy"),
            "verified": (route("verified", secure.port, scheme="https", healthcheck=CHECK), "unhealthy"),
            "nobody": (route("nobody", nobody, healthcheck=CHECK), "unhealthy"),
        }
        probed.publish(*(made for made, _ in found.values()))
        await probed.finds(**{name: {made.endpoints[0].port: state} for name, (made, state) in found.items()})
    await server.stop(0)
