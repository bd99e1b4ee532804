from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from tests.support.gateway import route, target
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy


async def test_a_refused_connection_is_retried_on_another_endpoint(envoy: Envoy) -> None:
    async with target("up") as up, envoy() as gw:
        await gw.publish(route("app", free_port(), up.port))
        answers = [await gw.ask("app", method=method) for method in ("GET", "POST") for _ in range(6)]
        assert {(answer.status, answer.by) for answer in answers} == {(200, "up")}


@pytest.mark.proves("response_header_timeout")
async def test_a_slow_response_times_out(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:

        async def hang(_request: web.Request) -> web.Response:
            await asyncio.Event().wait()
            return web.Response()

        it.handlers["/hang"] = hang
        await gw.publish(route("app", it.port, response_header_timeout=0.2))
        for count, method in enumerate(("POST", "GET"), 1):
            assert (await gw.ask("app", "/hang", method)).status == 504
            assert len(it.seen) == count


async def test_a_started_stream_has_no_timeout(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        go_on = asyncio.Event()

        async def slow(request: web.Request) -> web.StreamResponse:
            answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await answer.prepare(request)
            await answer.write(b"data: 1\n\n")
            await asyncio.sleep(0.5)  # longer than the target may take to begin
            await go_on.wait()
            await answer.write(b"data: 2\n\n")
            return answer

        it.handlers["/stream"] = slow
        await gw.publish(route("app", it.port, response_header_timeout=0.2))
        headers = {"Host": "app", "Accept-Encoding": "gzip"}
        async with gw.client.get(gw.url + "/stream", headers=headers) as answer:
            assert await answer.content.readuntil(b"\n\n") == b"data: 1\n\n"  # not kept back
            go_on.set()
            assert await answer.content.read() == b"data: 2\n\n"


async def test_large_bodies_and_headers_pass(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port))
        size = 20_000_000

        async def body() -> object:
            for _ in range(20):
                yield b"x" * (size // 20)

        async with gw.client.post(gw.url, headers={"Host": "app", "X-Large": "y" * 50_000}, data=body()) as answer:
            said = await answer.json()
        assert said["received"] == size
        assert len(said["headers"]["x-large"]) == 50_000

        async def large(_request: web.Request) -> web.Response:
            return web.Response(body=hashlib.sha256(b"").digest() * 300_000, headers={"X-Large": "z" * 100_000})

        it.handlers["/large"] = large
        async with gw.client.get(gw.url + "/large", headers={"Host": "app"}, max_field_size=200_000) as answer:
            assert len(await answer.read()) == 9_600_000


async def test_websockets_survive_changes_of_other_routes_and_of_their_own(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:

        async def echo(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data.upper())
            return socket

        it.handlers["/ws"] = echo
        mine = route("app", it.port)
        await gw.publish(mine)
        async with gw.client.ws_connect(gw.url + "/ws", headers={"Host": "app"}) as socket:
            for count in range(100):
                gw.publish_unheard(mine, *(route(f"other{n}", it.port) for n in range(count % 7)))
            await gw.ads.wait_for_acks()
            await socket.send_str("still here")
            assert (await socket.receive_str()) == "STILL HERE"
            await gw.publish(route("app", it.port, it.port + 1))
            await gw.publish()
            await socket.send_str("and now")
            assert (await socket.receive_str()) == "AND NOW"


async def test_a_response_in_flight_survives_the_removal_of_its_route(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow(_request: web.Request) -> web.Response:
            begun.set()
            await go_on.wait()
            return web.Response(text="done")

        it.handlers["/slow"] = slow
        for mine in (route("app", it.port), route("app", it.port, max_conns_per_host=5)):
            begun.clear()
            go_on.clear()
            await gw.publish(mine)
            asking = asyncio.create_task(gw.ask("app", "/slow"))
            await begun.wait()
            await gw.publish()
            assert (await gw.ask("app")).status == 404
            go_on.set()
            assert (await asking).body == b"done"


async def test_a_request_dropped_by_a_dying_target_is_retried_if_safe(envoy: Envoy) -> None:
    async with target("up") as up, envoy() as gw:
        dropped: list[bytes] = []

        async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            dropped.append(await reader.readuntil(b"\r\n\r\n"))
            writer.close()

        dying = await asyncio.start_server(drop, "127.0.0.1", 0)
        port = dying.sockets[0].getsockname()[1]
        async with dying:
            await gw.publish(route("app", port, up.port))
            got = [await gw.ask("app") for _ in range(6)]
            assert {answer.by for answer in got} == {"up"}
            assert dropped
            posts = [await gw.ask("app", method="POST") for _ in range(6)]
            assert {answer.status for answer in posts} == {200, 503}  # once is never made twice
            await until(lambda: sum(b"POST" in head for head in dropped) == 3)


async def test_clients_of_http_1_0_are_served(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port))
        reader, writer = await asyncio.open_connection("127.0.0.1", gw.options.http_port)
        writer.write(b"GET / HTTP/1.0\r\nHost: app\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"200"
        writer.close()


@pytest.mark.proves("load_balance.sticky", "load_balance.sticky_max_age", "load_balance.link")
async def test_sticky_clients_stay_with_their_member(envoy: Envoy) -> None:
    from pilotage.routes.schema import LoadBalance

    async with target("one") as one, target("two") as two, target("three") as three, envoy() as gw:
        balance = LoadBalance(link="shop", sticky=True, sticky_max_age=60)
        members = [route(f"m{n}", it.port, load_balance=balance) for n, it in enumerate((one, two, three))]
        await gw.publish(*members)
        seen = set()
        for _ in range(12):
            first = await gw.ask("shop.example.org", headers={"Connection": "close"})  # the next is a new one
            cookie = first.headers["Set-Cookie"]
            assert "Max-Age=60" in cookie
            again = {(await gw.ask("shop", headers={"Cookie": cookie.split(";")[0]})).by for _ in range(4)}
            assert again == {first.by}
            seen.add(first.by)
        assert len(seen) > 1
        assert (await gw.ask("m0")).status == 404  # a member answers for its pool


@pytest.mark.proves("load_balance.mode")
async def test_ip_hash_keeps_a_client_with_one_member(envoy: Envoy) -> None:
    from pilotage.routes.schema import LoadBalance

    async with target("one") as one, target("two") as two, envoy() as gw:
        balance = LoadBalance(link="shop", mode="IP_Hash")
        await gw.publish(route("a", one.port, load_balance=balance), route("b", two.port, load_balance=balance))
        assert len({(await gw.ask("shop")).by for _ in range(8)}) == 1
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))
        seen = set()
        for last in range(2, 12):
            connector = aiohttp.TCPConnector(local_addr=(f"127.0.0.{last}", 0))
            async with aiohttp.ClientSession(connector=connector) as client:
                async with client.get(gw.url, headers={"Host": "shop"}) as answer:
                    seen.add(answer.headers["X-From"])
        assert seen == {"one", "two"}
