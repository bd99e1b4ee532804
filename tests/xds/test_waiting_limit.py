"""How many requests and connections wait."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiohttp

from pilotage.routes.gate import Gate
from pilotage.routes.port_syntax import PortPair
from tests.support.gateway import becomes, route, target
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.gateway import Gateway
    from tests.xds.conftest import Envoy


async def test_beyond_the_limit_requests_are_rejected_at_once_and_the_others_are_answered(envoy: Envoy) -> None:
    async with target() as it, envoy(max_waiting_requests=20) as gw:
        await gw.publish(route("app", endpoints=(), hold=60.0), route("other", endpoints=(), hold=60.0))
        asking = [asyncio.create_task(gw.ask("app")) for _ in range(30)]
        await until(lambda: sum(task.done() for task in asking) == 10)
        rejected = [task.result() for task in asking if task.done()]
        assert {answer.status for answer in rejected} == {503}
        assert all(b"Too many requests are waiting for this service" in answer.body for answer in rejected)
        assert all(answer.headers["Retry-After"] for answer in rejected)
        others = [asyncio.create_task(gw.ask("other")) for _ in range(5)]
        await gw.publish(route("app", it.port, hold=60.0), route("other", it.port, hold=60.0))
        assert sorted([(await task).status for task in asking]) == [200] * 20 + [503] * 10
        assert {(await task).status for task in others} == {200}
        assert {(await gw.ask("app")).status for _ in range(30)} == {200}  # it limits only what waits


async def test_requests_for_an_unusual_spelling_of_a_host_have_the_same_limit(envoy: Envoy) -> None:
    async with target() as it, envoy(max_waiting_requests=20) as gw:
        await gw.publish(route("app", endpoints=(), hold=60.0))
        asking = [asyncio.create_task(gw.ask("APP.")) for _ in range(30)]
        await until(lambda: sum(task.done() for task in asking) == 10)
        assert {task.result().status for task in asking if task.done()} == {503}
        await gw.publish(route("app", it.port, hold=60.0))
        assert sorted([(await task).status for task in asking]) == [200] * 20 + [503] * 10
        assert {(await gw.ask("APP.")).status for _ in range(30)} == {200}


async def test_the_requests_that_wait_for_all_routes_have_a_limit_and_leave_room_when_they_end(envoy: Envoy) -> None:
    names = ("one", "two", "three")
    async with target() as it, envoy(max_waiting_in_all=20) as gw:

        async def insist() -> int:
            while (status := (await gw.ask("three")).status) == 503:  # noqa: ASYNC110  Envoy decides
                await asyncio.sleep(0.05)
            return status

        await gw.publish(*(route(name, endpoints=(), hold=60.0) for name in names))
        asking = [asyncio.create_task(gw.ask(name)) for name in names for _ in range(10)]
        await until(lambda: sum(task.done() for task in asking) == 10)
        rejected = [task.result() for task in asking if task.done()]
        assert {answer.status for answer in rejected} == {503}
        assert all(b"Too many requests are waiting for services" in answer.body for answer in rejected)
        waiting = [task for task in asking if not task.done()]
        for task in waiting[:5]:
            task.cancel()
        more = [asyncio.create_task(insist()) for _ in range(5)]
        await becomes(lambda: _active(gw), 20)
        await gw.publish(*(route(name, it.port, hold=60.0) for name in names))
        assert [(await task).status for task in waiting[5:]] == [200] * 15
        assert [await task for task in more] == [200] * 5
        assert {(await gw.ask("one")).status for _ in range(30)} == {200}


async def _active(gw: Gateway) -> int:
    """Return how many requests Envoy has not answered yet."""
    connector = aiohttp.UnixConnector(str(gw.directory / "admin.sock"))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get("http://envoy/stats?filter=http.http.downstream_rq_active") as answer,
    ):
        return int((await answer.text()).rpartition(":")[2])


async def test_tcp_connections_that_wait_have_a_limit_and_others_have_none(envoy: Envoy) -> None:
    port = free_port()

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: db\r\n\r\n")
        opened.append(writer)
        with contextlib.suppress(ConnectionError):
            return await reader.readline()
        return b""

    opened: list[asyncio.StreamWriter] = []
    async with target() as it, envoy(max_waiting_requests=3) as gw:
        tcp = route("db", it.port, scheme="tcp", bind="127.0.0.1", port=PortPair(port, it.port))
        gw.ads.gates.set_gate("db", Gate(7, "open"))
        await gw.publish(tcp)
        await becomes(ask, b"HTTP/1.1 200 OK\r\n")
        assert [await ask() for _ in range(6)] == [b"HTTP/1.1 200 OK\r\n"] * 6  # and they stay open
        gw.ads.gates.set_gate("db", Gate(8, "closed", busy=(7,)))
        await gw.ads.wait_for_acks()
        asking = [asyncio.create_task(ask()) for _ in range(8)]
        await until(lambda: sum(task.done() for task in asking) == 5)
        assert {task.result() for task in asking if task.done()} == {b""}
        gw.ads.gates.set_gate("db", Gate(8, "open", busy=(7,)))
        assert sorted([await task for task in asking]) == [b""] * 5 + [b"HTTP/1.1 200 OK\r\n"] * 3
        await gw.ads.wait_for_acks()
        assert [await ask() for _ in range(6)] == [b"HTTP/1.1 200 OK\r\n"] * 6
        for writer in opened:
            writer.close()
