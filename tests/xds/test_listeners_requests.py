"""What the listeners pass on and what they remove, with a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from pilotage.xds import listeners
from tests.support.gateway import route, target

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


@pytest.mark.parametrize(
    "token",
    ["tailscale-control-protocol", "tcp", "SPDY/3.1", "DERP", "TLS/1.0", "xmpp", "connect-ip", "h2c, websocket"],
)
async def test_a_connection_may_change_to_other_protocols_than_websocket(envoy: Envoy, token: str) -> None:
    asked = f"POST /up HTTP/1.1\nHost: app\nConnection: Upgrade\nUpgrade: {token}\nContent-Length: 0\n\n"
    switching = f"HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: {token}\n\n"
    async with envoy() as gw:
        async with _raw_target(switching, shouts=True) as (port, heads):
            await gw.publish(route("app", port))
            found = await _spoken(gw.ads.snapshot.options.http_port, asked, b"hello")
            assert found.startswith(b"HTTP/1.1 101")
            assert found.endswith(b"HELLO")
            assert f"upgrade: {token}".lower().encode() in heads[0].lower()
        async with _raw_target("HTTP/1.1 200 OK\nContent-Length: 2\n\nok") as (port, _):
            await gw.publish(route("app", port))
            found = await _spoken(gw.ads.snapshot.options.http_port, asked)
            assert found.startswith(b"HTTP/1.1 200")
            assert b"ok" in found


@pytest.mark.parametrize(
    "method", ["BAN", "RDG_OUT_DATA", "VERSION-CONTROL", "UPDATE", "BASELINE-CONTROL", "PROPFIND", "PURGE", "QUERY"]
)
async def test_every_method_reaches_the_target(envoy: Envoy, method: str) -> None:
    async with _raw_target("HTTP/1.1 200 OK\nContent-Length: 0\n\n") as (port, heads), envoy() as gw:
        await gw.publish(route("app", port))
        asked = f"{method} /m HTTP/1.1\nHost: app\nConnection: close\nContent-Type: text/plain\n\n"
        assert (await _spoken(gw.ads.snapshot.options.http_port, asked)).startswith(b"HTTP/1.1 200")
        assert heads[0].startswith(f"{method} /m ".encode())


async def test_what_an_untrusted_client_says_of_its_way_is_removed_whatever_the_header(envoy: Envoy) -> None:
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
