from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from pilotage.xds.backend import route_backend
from pilotage.xds.options import GatewayOptions
from pilotage.xds.retries import repeats, retries, shared_retries
from tests.support.gateway import route, target

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy


def test_sent_requests_are_retried_only_if_safe() -> None:
    backend, options = route_backend(route("app", 80, 81)), GatewayOptions()
    assert "reset" not in retries(backend, options).retry_on.split(",")
    assert "reset" in retries(backend, options, safe=True).retry_on.split(",")
    assert "reset" in shared_retries(options, safe=True).retry_on.split(",")
    assert "reset" not in shared_retries(options, safe=False).retry_on.split(",")


def test_a_timeout_disables_retries_of_sent_requests() -> None:
    options = GatewayOptions()
    backend = route_backend(route("app", 80, 81))
    assert retries(backend, options).per_try_timeout.ToSeconds() == 60
    assert not retries(backend, options, safe=True).HasField("per_try_timeout")
    limited = route_backend(route("app", 80, 81, response_header_timeout=5.0))
    assert not repeats(limited)
    for safe in (False, True):
        policy = retries(limited, options, safe=safe)
        assert policy.per_try_timeout.ToSeconds() == 5
        assert "reset" not in policy.retry_on.split(",")


def test_held_requests_are_retried_for_the_hold_time() -> None:
    policy = retries(route_backend(route("app", 80, hold=5.0)), GatewayOptions(retries=1))
    assert policy.num_retries.value * policy.retry_back_off.max_interval.ToMilliseconds() / 2 >= 5000


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(("method", "tries"), [("GET", 4), ("POST", 1), ("DELETE", 1)])
async def test_a_request_is_retried_after_a_broken_connection_if_safe(
    envoy: Envoy, method: str, tries: int, *, own: bool
) -> None:
    asked = 0

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.transport.abort()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    async with server, envoy(retries=3) as gw:
        port = server.sockets[0].getsockname()[1]
        await gw.publish(route("app", port, **({"max_conns_per_host": 9} if own else {})))
        assert (await gw.ask("app", method=method)).status == 503
        assert asked == tries


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_target_that_times_out_gets_the_request_once(envoy: Envoy, method: str) -> None:
    checked = asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        await checked.wait()
        return web.Response()

    async with target() as it, envoy() as gw:
        it.handlers["/hang"] = hang
        await gw.publish(route("app", it.port, response_header_timeout=0.3))
        assert (await gw.ask("app", "/hang", method)).status == 504
        assert len(it.seen) == 1
        checked.set()
