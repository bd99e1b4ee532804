"""Whether a server answers that has just been started."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pilotage.routes.route import Endpoint, Route
from pilotage.sleep.readiness import Readiness, check_readiness
from tests.support.ports import free_port
from tests.support.summaries import route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[tuple[int, list[int]]]:
    status = [200]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            writer.write(f"HTTP/1.1 {status[0]} x\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1], status


CHECKED = {"proxy.web.healthcheck.path": "/up"}


async def test_a_server_without_a_health_check_is_ready_when_it_accepts_a_connection(
    server: tuple[int, list[int]],
) -> None:
    port, _ = server
    assert await check_readiness(Route("web"), Endpoint("127.0.0.1", port)) is Readiness.READY
    assert await check_readiness(Route("web"), Endpoint("not a name", port)) is Readiness.STARTING


@pytest.mark.parametrize("served", [Route("web"), route(CHECKED)], ids=["connection", "health check"])
async def test_a_server_that_does_not_listen_yet_refuses(served: Route) -> None:
    assert await check_readiness(served, Endpoint("127.0.0.1", free_port())) is Readiness.REFUSED


@pytest.mark.parametrize(("status", "ready"), [(200, True), (404, True), (499, True), (500, False), (503, False)])
async def test_the_health_check_of_the_route_must_pass(server: tuple[int, list[int]], status: int, ready: bool) -> None:
    port, says = server
    says[0] = status
    found = await check_readiness(route(CHECKED), Endpoint("127.0.0.1", port))
    assert found is (Readiness.READY if ready else Readiness.STARTING)


async def test_a_udp_server_need_not_answer() -> None:
    assert await check_readiness(Route("dns", scheme="udp"), Endpoint("127.0.0.1", free_port())) is Readiness.READY


async def test_a_name_is_asked_at_the_address_that_was_checked(server: tuple[int, list[int]]) -> None:
    port, _ = server
    endpoint = Endpoint("no.such.name.invalid", port, addresses=("127.0.0.1",))
    assert await check_readiness(Route("web"), endpoint) is Readiness.READY
