"""How many connections there can be, and for how long without a request."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from pilotage.api.connections import LIMIT, SERVER, Connections, connection_limit, receiving, serving
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Place:
    def __init__(self, connections: Connections, port: int) -> None:
        self.connections = connections
        self.port = port
        self.release = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer


@contextlib.asynccontextmanager
async def listening(limit: int = 200, silence: float = 10, body: bytes = b"") -> AsyncIterator[Place]:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        with serving(request):
            if request.path == "/wait":
                await place.release.wait()
            if request.method == "POST":
                with receiving(request):
                    await request.read()
            return web.Response(body=body)

    server = web.Server(answer)
    connections = Connections(server, limit=limit, silence=silence)
    listener = await asyncio.get_running_loop().create_server(connections, "127.0.0.1", 0)
    place = Place(connections, listener.sockets[0].getsockname()[1])
    try:
        yield place
    finally:
        place.release.set()
        listener.close()
        await server.shutdown(1)
        for writer in place.writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # the event loop closes aborted connections in its next turn


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:", GET, GET + b"GET / HT"])
async def test_a_connection_without_a_complete_request_is_closed(sent: bytes) -> None:
    async with listening(silence=0.2) as place:
        reader, writer = await place.open()
        writer.write(sent)
        await reader.read()  # returns when the connection is closed
        writer.close()
        await until(lambda: len(place.connections) == 0)


async def test_a_header_that_trickles_in_is_not_waited_for() -> None:
    async with listening(silence=0.3) as place:
        reader, writer = await place.open()
        ended = asyncio.create_task(reader.read())
        while not ended.done():
            with contextlib.suppress(ConnectionError):
                writer.write(b"G")
                await writer.drain()
            await asyncio.wait([ended], timeout=0.02)
        writer.close()


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"


async def test_who_waits_for_a_body_keeps_nobody_out() -> None:
    async with listening(limit=3, silence=30) as place:
        opened = [await place.open() for _ in range(3)]
        for _, writer in opened:
            writer.write(POST + b"t")
        await until(lambda: all(connection.requests == 0 for connection in place.connections._open))
        reader, writer = await place.open()
        writer.write(POST + b"123456789")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert len(place.connections) == 3


async def test_a_handler_that_waits_for_a_body_does_not_keep_the_connection() -> None:
    async with listening(silence=0.2) as place:
        reader, writer = await place.open()
        writer.write(POST + b"t")
        with contextlib.suppress(ConnectionError):
            await reader.read()  # returns when the connection is closed
        await until(lambda: len(place.connections) == 0)


async def test_a_body_that_never_comes_does_not_keep_the_connection() -> None:
    async with listening(silence=0.2) as place:
        reader, writer = await place.open()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert b"200 OK" in await reader.read()
        writer.close()


async def test_a_slow_handler_is_waited_for() -> None:
    async with listening(silence=0.1) as place:
        reader, writer = await place.open()
        writer.write(GET.replace(b"/ ", b"/wait "))
        reading = asyncio.create_task(reader.readline())
        await asyncio.wait([reading], timeout=0.5)
        assert not reading.done()
        place.release.set()
        assert await reading == b"HTTP/1.1 200 OK\r\n"
        writer.close()


async def test_a_client_that_stops_reading_is_disconnected_but_a_slow_one_is_not() -> None:
    size = 32 << 20  # more than the kernel buffers
    async with listening(silence=0.5, body=bytes(size)) as place:
        stuck_reader, stuck = await place.open()
        stuck.write(GET)
        reader, writer = await place.open()
        writer.write(GET)
        await until(lambda: len(place.connections) == 2)
        got = 0
        while got < size:
            data = await reader.read(size // 8)
            assert data
            got += len(data)
            await asyncio.sleep(0.02)
        await until(lambda: len(place.connections) < 2)
        for each in (stuck, writer):
            each.close()
        del stuck_reader


async def test_a_new_connection_replaces_the_one_that_was_silent_longest() -> None:
    async with listening(limit=3) as place:
        opened = []
        for _ in range(3):
            opened.append(await place.open())
            await until(lambda: len(place.connections) == len(opened))
        reader, writer = opened[0]
        writer.write(GET)  # so that the second one has been silent for the longest time
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        newest = await place.open()
        newest[1].write(GET)
        assert await newest[0].readline() == b"HTTP/1.1 200 OK\r\n"
        assert await opened[1][0].read() == b""
        assert len(place.connections) == 3
        for _, each in (*opened, newest):
            each.close()


async def test_requests_that_are_being_handled_are_never_cut_off() -> None:
    async with listening(limit=2) as place:
        busy = [await place.open() for _ in range(2)]
        for _, writer in busy:
            writer.write(GET.replace(b"/ ", b"/wait "))
        await until(lambda: [it.requests for it in place.connections._open] == [1, 1])
        reader, writer = await place.open()
        assert await reader.read() == b""  # there is no room
        writer.close()
        place.release.set()
        for reader, writer in busy:
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            writer.close()


async def test_a_malformed_request_is_answered_without_a_version() -> None:
    async with listening() as place:
        reader, writer = await place.open()
        writer.write(b"\x16\x03\x01\r\n\r\n")
        answer = (await reader.read()).decode()
        assert answer.startswith("HTTP/1.0 400 ")
        assert f"Server: {SERVER}\r\n" in answer
        writer.close()


@pytest.mark.parametrize(("descriptors", "limit"), [(-1, LIMIT), (1_048_576, LIMIT), (1024, 128), (512, 64), (4, 1)])
def test_the_limit_leaves_descriptors_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, limit: int
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (descriptors, descriptors))
    assert connection_limit() == limit
