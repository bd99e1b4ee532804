"""Ports and addresses of their own, as clients and targets see them, with a real ``pilotage serve``."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from pilotage.testing import FakeEngine
from tests.support.command import pilotage_serve
from tests.support.envoy import web_server
from tests.support.front_door import Answer, front_door, raw_target, read_response
from tests.support.ports import free_port
from tests.support.required import required
from tests.support.sleepers import state_of
from tests.support.socketproxy import haproxy
from tests.support.waiting import until, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.slow]

# HAProxy answers each request with what the PROXY protocol says about its connection.
_HAPROXY = """
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 30s
frontend web
    bind 127.0.0.1:{port} accept-proxy
    http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port]"
"""


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.proves("relay_proxy_protocol_header")
def test_haproxy_learns_the_address_of_the_client_by_the_proxy_protocol(tmp_path: Path) -> None:
    behind, mine = free_port(), free_port()
    (tmp_path / "haproxy").mkdir()
    relayed = {"scheme": "tcp", "host": "127.0.0.1", "port": f"{mine}:{behind}", "relay_proxy_protocol_header": True}
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(raw_target())
        stack.enter_context(required())
        stack.enter_context(haproxy(tmp_path / "haproxy", _HAPROXY.format(port=behind), lambda: is_open(behind)))
        routes = {"other": {"host": "127.0.0.1", "port": other.port}, "web": relayed}
        stack.enter_context(front_door(tmp_path, routes))
        wait_until(lambda: is_open(mine))
        with socket.create_connection(("127.0.0.1", mine), timeout=30, source_address=("127.0.0.77", 0)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            answer = Answer(read_response(client))
            assert answer.body.decode() == f"127.0.0.77 {client.getsockname()[1]} 127.0.0.1 {mine}"


async def _shout(request: web.BaseRequest) -> web.StreamResponse:
    """Answer with the host that was asked for, and shout back what comes over a WebSocket."""
    if "upgrade" not in request.headers:
        return web.Response(text=request.host)
    chat = web.WebSocketResponse()
    await chat.prepare(request)
    async for message in chat:
        await chat.send_str(message.data.upper())
    return chat


async def test_containers_with_a_port_or_an_address_of_their_own_sleep_and_wake(tmp_path: Path) -> None:
    async with web_server(_shout) as one, web_server(_shout) as two, FakeEngine() as engine:
        mine = free_port()
        labels = {
            "shop": {"proxy.shop.scheme": "http", "proxy.shop.port": f"{mine}:{one}"},
            "admin": {"proxy.admin.port": str(two), "proxy.admin.bind": "127.0.0.5"},
        }
        for name, port in (("shop", one), ("admin", two)):
            published = (f"{port}:{port}",)
            engine.add(name, networks=(), ports=published, labels={**labels[name], "proxy.idle_timeout": "1s"})
        async with pilotage_serve(tmp_path, engine) as command, aiohttp.ClientSession() as session:
            shared = command.port
            urls = {"shop": f"http://127.0.0.1:{mine}", "admin": f"http://127.0.0.5:{shared}"}

            async def ask(url: str, host: str, **headers: str) -> tuple[int, str]:
                async with session.get(url, headers={"Host": host, **headers}) as answer:
                    return answer.status, await answer.text()

            async def sleeps(name: str) -> None:
                await until(lambda: state_of(engine, name) == "exited")

            for name in urls:
                await sleeps(name)
            # Elsewhere, their names are unknown, and nothing wakes.
            assert {(await ask(f"http://127.0.0.1:{shared}", name))[0] for name in urls} == {404}
            assert {state_of(engine, name) for name in urls} == {"exited"}
            status, page = await ask(urls["admin"], "admin", Accept="text/html")
            assert (status, "<!doctype html>" in page) == (503, True)  # the loading page
            await until(lambda: state_of(engine, "admin") == "running")
            # A port of its own needs no name.
            async with session.ws_connect(urls["shop"]) as chat:
                await chat.send_str("hello")
                assert (await chat.receive()).data == "HELLO"
                assert await ask(urls["admin"], "admin.example.com") == (200, "admin.example.com")
                await sleeps("admin")  # it has been idle for as long as the other one may be
                assert state_of(engine, "shop") == "running"
