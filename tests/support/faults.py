"""Engines that misbehave: a server on a unix socket, TCP or TLS whose every response the test writes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Behaviour = Callable[["Exchange"], Awaitable[None]]

__all__ = [
    "VERSION",
    "Exchange",
    "Puppet",
    "answer",
    "behave",
    "end_mid_body",
    "end_mid_chunk",
    "endless",
    "json_answer",
    "puppet",
    "reset",
    "reset_mid_body",
]

VERSION: dict[str, Any] = {
    "Version": "28.5.2",
    "ApiVersion": "1.51",
    "MinAPIVersion": "1.24",
    "Components": [{"Name": "Engine", "Version": "28.5.2"}],
}


class Exchange:
    """One request to the puppet, and how to answer it.

    Attributes:
        method, path: of the request; the path with its query.
        headers: by lower-case name.
        writer: sends the response.

    """

    def __init__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *fields = head.decode().split("\r\n")
        self.method, self.path, _ = line.split(" ")
        self.headers = {key.lower(): value for key, _, value in (field.partition(": ") for field in fields if field)}
        self.reader = reader
        self.writer = writer

    async def gone(self) -> None:
        """Send nothing until the client hangs up."""
        await self.reader.read()
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Reset the connection instead of closing it."""
        self.writer.transport.abort()


class Puppet:
    """The server.

    Attributes:
        url: its address.
        behaviour: handles each request; tests may replace it at any time.
        requests: method and path of each request so far.
        connections: number of connections so far.

    """

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.url = ""
        self.port = 0
        self.requests: list[str] = []
        self.heads: list[Exchange] = []
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.transport.is_closing():
                exchange = Exchange((await reader.readuntil(b"\r\n\r\n"))[:-4], reader, writer)
                self.requests.append(f"{exchange.method} {exchange.path}")
                self.heads.append(exchange)
                await self.behaviour(exchange)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.transport.abort()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def puppet(
    behaviour: Behaviour, *, path: Path | None = None, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Puppet]:
    """Serve on a unix socket if ``path`` is given, else on a TCP port of loopback, with TLS if ``tls`` is given."""
    server = Puppet(behaviour)
    if path is not None:
        listening: asyncio.Server = await asyncio.start_unix_server(server.serve, path)
        server.url = f"unix://{path}"
    else:
        listening = await asyncio.start_server(server.serve, host, 0, ssl=tls)
        server.port = listening.sockets[0].getsockname()[1]
        server.url = f"tcp://{f'[{host}]' if ':' in host else host}:{server.port}"
    try:
        yield server
    finally:
        listening.close()
        await server.close()
        await listening.wait_closed()


def answer(status: str, body: bytes, *headers: str) -> bytes:
    """Return a complete response; ``status`` like ``"200 OK"``."""
    fields = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


def json_answer(value: object, *headers: str, status: str = "200 OK") -> bytes:
    """Return a complete JSON response."""
    return answer(status, json.dumps(value).encode(), "Content-Type: application/json", *headers)


def behave(**paths: bytes | Behaviour) -> Behaviour:
    """Return the behaviour of a healthy engine without containers, except for paths named by their last part.

    ``behave(json=b"garbage")`` answers ``/containers/json`` with exactly these bytes; coroutine functions are called.
    """
    sound = {"version": json_answer(VERSION), "_ping": answer("200 OK", b"OK"), "json": json_answer([])}

    async def behaviour(exchange: Exchange) -> None:
        last = exchange.path.partition("?")[0].rpartition("/")[2]
        reply = paths.get(last, sound.get(last, json_answer({"message": "page not found"}, status="404 Not Found")))
        if isinstance(reply, bytes):
            await exchange.send(reply)
        else:
            await reply(exchange)

    return behaviour


# ---- answers that break off, and one that does not


async def reset(exchange: Exchange) -> None:
    """Close the connection before responding."""
    exchange.reset()


async def reset_mid_body(exchange: Exchange) -> None:
    """Reset the connection in the middle of a body."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[{")
    exchange.reset()


async def end_mid_body(exchange: Exchange) -> None:
    """Close the connection in the middle of a body."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[{")
    exchange.writer.close()


async def end_mid_chunk(exchange: Exchange) -> None:
    """Close the connection in the middle of a chunk."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[")
    exchange.writer.close()


async def endless(exchange: Exchange, status: bytes = b"200 OK") -> None:
    """Send an endless response."""
    await exchange.send(b"HTTP/1.1 " + status + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not exchange.writer.transport.is_closing():
        await exchange.send(b"100000\r\n" + b"x" * 2**20 + b"\r\n")
