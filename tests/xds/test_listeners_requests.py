"""What the listeners pass on and what they remove, with a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from pilotage.xds import listeners
from pilotage.xds.upgrades import UPGRADES
from tests.support.gateway import route, target
from tests.support.http2 import Http2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.xds.conftest import Envoy


async def _spoken(port: int, request: str, then: bytes = b"") -> bytes:
    """Send a request as it is, and more bytes after the head of its answer; return all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace("\n", "\r\n").encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if then:
        writer.write(then)
    found = head + await reader.read(200)
    writer.close()
    return found


@contextlib.asynccontextmanager
async def _raw_target(answer: str, *, shouts: bool = False) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Run a server that sends the same head to every request, and perhaps shouts back what comes after it."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(answer.replace("\n", "\r\n").encode())
                if shouts:
                    writer.write((await reader.read(100)).upper())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


async def test_a_connection_may_change_to_other_protocols_than_websocket(envoy: Envoy) -> None:
    switching = "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: {}\n\n"
    async with envoy() as gw, _raw_target("HTTP/1.1 200 OK\nContent-Length: 2\n\nok") as (plain, ignored):
        http = gw.ads.snapshot.options.http_port
        for token in UPGRADES:
            asked = f"POST /up HTTP/1.1\nHost: app\nConnection: Upgrade\nUpgrade: {token}\nContent-Length: 0\n\n"
            async with _raw_target(switching.format(token), shouts=True) as (port, heads):
                await gw.publish(route("app", port), route("plain", plain))
                found = await _spoken(http, asked, b"hello")
                assert found.startswith(b"HTTP/1.1 101")
                assert found.endswith(b"HELLO")
                assert f"upgrade: {token}".lower().encode() in heads[0].lower()
        # A target that does not change the protocol answers as usual.
        for token in ("tcp", "SPDY/3.1", "h2c", "h2c, tcp", "x-of-tomorrow/2", "websockets", "HTTP/2.0"):
            asked = f"POST /up HTTP/1.1\nHost: plain\nConnection: Upgrade\nUpgrade: {token}\nContent-Length: 0\n\n"
            found = await _spoken(http, asked)
            assert found.startswith(b"HTTP/1.1 200"), token
            assert b"ok" in found
        assert len(ignored) == 7
        # Envoy cannot pass on protocols whose names it does not know, and does as a server that does not know them.
        assert b"upgrade" not in ignored[-1].lower()


async def test_a_refusal_to_become_a_websocket_keeps_its_body(envoy: Envoy) -> None:
    asked = (
        "GET /ws HTTP/1.1\nHost: app\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n"
    )
    async with envoy() as gw:
        for status in ("400 Bad Request", "401 Unauthorized", "403 Forbidden", "426 Upgrade Required", "503 Down"):
            async with _raw_target(f"HTTP/1.1 {status}\nX-Why: mine\nContent-Length: 6\n\nreason") as (port, _):
                await gw.publish(route("app", port))
                found = await _spoken(gw.ads.snapshot.options.http_port, asked)
                assert found.startswith(f"HTTP/1.1 {status[:3]}".encode())
                assert b"x-why: mine" in found
                assert found.endswith(b"reason")
        async with _raw_target("HTTP/1.1 302 Found\nLocation: /login\nContent-Length: 0\n\n") as (port, _):
            await gw.publish(route("app", port))
            found = await _spoken(gw.ads.snapshot.options.http_port, asked)
            assert found.startswith(b"HTTP/1.1 302")
            assert b"location: /login" in found


async def test_every_method_reaches_the_target_over_both_versions_of_http(envoy: Envoy) -> None:
    methods = "BAN RDG_OUT_DATA VERSION-CONTROL UPDATE BASELINE-CONTROL PROPFIND PURGE QUERY TRACE get M#$".split()
    async with _raw_target("HTTP/1.1 200 OK\nContent-Length: 0\n\n") as (port, heads), envoy() as gw:
        await gw.publish(route("app", port))
        http = gw.ads.snapshot.options.http_port
        for method in methods:
            heads.clear()
            asked = f"{method} /m HTTP/1.1\nHost: app\nConnection: close\nContent-Type: text/plain\n\n"
            assert (await _spoken(http, asked)).startswith(b"HTTP/1.1 200")
            assert await asyncio.to_thread(_status_over_http2, http, method, "/m") == "200"
            assert [head.partition(b" HTTP/")[0] for head in heads] == [f"{method} /m".encode()] * 2


def _status_over_http2(port: int, method: str, path: str) -> str:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        client = Http2(connection)
        client.request(1, "app", ("content-type", "text/plain"), method=method, path=path)
        return client.statuses(1)[1]


async def test_characters_outside_of_ascii_in_a_path_are_encoded(envoy: Envoy) -> None:
    async with _raw_target("HTTP/1.1 200 OK\nContent-Length: 0\n\n") as (port, heads), envoy() as gw:
        await gw.publish(route("app", port))
        http = gw.ads.snapshot.options.http_port
        raw = "/caf\u00e9".encode().decode("latin-1")  # as bytes of UTF-8
        assert await asyncio.to_thread(_status_over_http2, http, "GET", raw) == "200"
        asked = "GET /caf%C3%A9 HTTP/1.1\nHost: app\nConnection: close\n\n"
        assert (await _spoken(http, asked)).startswith(b"HTTP/1.1 200")
        assert [head.split(b" ")[1].upper() for head in heads] == [b"/CAF%C3%A9"] * 2
        # Envoy's parser for HTTP/1.1 refuses them; browsers never send them.
        asked = "GET /caf\u00e9 HTTP/1.1\nHost: app\nConnection: close\n\n"
        assert (await _spoken(http, asked)).startswith(b"HTTP/1.1 400")


async def test_headers_about_the_way_of_a_request_are_removed_from_untrusted_clients(envoy: Envoy) -> None:
    names = "Prefix Ssl Scheme By Path User Email Protocol Host Port Server Tls-Client-Cert".split()
    forged = {f"X-Forwarded-{name}": "/evil" for name in names} | {"X-Original-Forwarded-For": "6.6.6.6"}
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port))
        assert (await gw.ask("app", headers=forged)).status == 200
        ((_, _, seen),) = it.seen
    assert {name for name in seen if name.startswith(("x-forwarded", "x-original"))} == {
        "x-forwarded-for",
        "x-forwarded-proto",
    }
    assert not {"/evil", "6.6.6.6"} & set(seen.values())


@pytest.mark.parametrize("host", ["app", "app.example.com", "App.Example.com", "app:80"])
async def test_the_time_limit_for_headers_ends_once_the_route_is_known(
    envoy: Envoy, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(listeners, "_SLOWEST_HEADERS", 0.5)
    may_answer = asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        await may_answer.wait()
        return web.Response()

    async def drip(writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)

    async with target() as it, envoy() as gw:
        it.handlers["/slow"] = slow
        await gw.publish(route("app", it.port))
        waiting = [asyncio.create_task(gw.ask(host, "/slow", method=method)) for method in ("GET", "POST")]
        while len(it.seen) < len(waiting):  # noqa: ASYNC110  # requests of another process
            await asyncio.sleep(0.01)
        # The limit passes for a client that keeps sending parts of its headers, and began after them.
        reader, writer = await asyncio.open_connection("127.0.0.1", gw.ads.snapshot.options.http_port)
        writer.write(b"GET / HTTP/1.1\r\nHost: app\r\nX-Slow: ")
        dripping = asyncio.create_task(drip(writer))
        async with asyncio.timeout(60):
            assert b" 408 " in await reader.readline()
        dripping.cancel()
        writer.close()
        may_answer.set()
        assert [(await each).status for each in waiting] == [200, 200]
