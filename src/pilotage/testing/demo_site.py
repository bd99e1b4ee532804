"""The demonstration come alive: the containers of its engine are web servers of this process, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import html
import socket
from typing import TYPE_CHECKING, Final

from aiohttp import web

from pilotage.testing.demo import demo_containers
from pilotage.testing.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pilotage.testing.container import FakeContainer

__all__ = ["demo_site"]

_NETWORKS: Final = range(64, 128)
"""Third byte of the containers' addresses, 127.77.x.y; the next one is for the next demonstration on this machine."""


@contextlib.asynccontextmanager
async def demo_site() -> AsyncIterator[FakeEngine]:
    """Run the demonstration's engine with containers that answer.

    Each running container has an address of its own in 127.0.0.0/8, which Linux gives to every machine, and a web
    server on each of its ports from 1024 up. Others have none, as databases have.

    Raises:
        OSError: no address can be had: another system, or too many demonstrations.

    """
    async with contextlib.AsyncExitStack() as stack:
        containers = demo_containers()
        for container, address in zip(containers, _addresses(len(containers)), strict=True):
            container.networks = dict.fromkeys(container.networks, address)
            if container.alive:
                for port in container.ports:
                    if port.protocol == "tcp" and port.private >= 1024:
                        await stack.enter_async_context(_served(container, address, port.private))
        yield await stack.enter_async_context(FakeEngine(containers, api="1.45"))


def _addresses(number: int) -> Iterator[str]:
    """Return addresses of a network that no other demonstration uses just now."""
    for third in _NETWORKS:
        with socket.socket() as probe:
            try:
                probe.bind((f"127.77.{third}.2", 2368))  # where the first of its web servers will be
            except OSError:
                continue
        return (f"127.77.{third}.{last}" for last in range(1, number + 1))
    raise OSError("no loopback addresses are left for the demonstration")


@contextlib.asynccontextmanager
async def _served(container: FakeContainer, address: str, port: int) -> AsyncIterator[None]:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/healthz":
            return web.Response(text="ok\n")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await _echo(request)
        name = html.escape(container.name)
        seen = html.escape(f"{request.method} {request.path} for {request.headers.get('Host', '')}")
        page = f"<!doctype html><title>{name}</title><h1>{name}</h1><p>container of the demonstration, port {port}</p>"
        return web.Response(text=f"{page}<p>{seen}</p>\n", content_type="text/html")

    server = web.Server(answer)  # type: ignore[arg-type]  # its stub forgets WebSockets
    runner = web.ServerRunner(server, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port).start()
        yield
    finally:
        await runner.cleanup()


async def _echo(request: web.Request) -> web.StreamResponse:
    stream = web.WebSocketResponse()
    await stream.prepare(request)
    with contextlib.suppress(asyncio.CancelledError, ConnectionError):
        async for message in stream:
            await stream.send_str(str(message.data))
    return stream
