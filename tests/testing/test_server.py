from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from pilotage.testing.dialect import Answer
from pilotage.testing.server import Connection, Request, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ANSWER = Answer(200, {"Content-Type": "text/plain"}, b"hello")


class Place:
    """A server that notes requests, and a way to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[Request] = []
        self.waiting: asyncio.Queue[Connection] = asyncio.Queue()
        self.at_once = True
        self.changed = asyncio.Event()
        self.server = Server(self.handle, self.changed.set)

    def handle(self, request: Request, connection: Connection) -> None:
        self.requests.append(request)
        if self.at_once:
            connection.answer(ANSWER)
        else:
            self.waiting.put_nowait(connection)

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path / "s")
    await made.server.listen(made.path)
    yield made
    await made.server.close()


def get(target: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


async def read(reader: asyncio.StreamReader, *, bare: bool = False) -> tuple[str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next((int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0)
    return head.split("\r\n")[0], b"" if bare else await reader.readexactly(length)


async def test_requests_on_one_connection_are_answered_one_after_the_other(place: Place) -> None:
    async with place.client() as (reader, writer):
        writer.write(get("/a?x=1&y=%2Fz") + get("/b", method="HEAD") + get("/c"))
        assert await read(reader) == ("HTTP/1.1 200 OK", b"hello")
        assert await read(reader, bare=True) == ("HTTP/1.1 200 OK", b"")
        assert await read(reader) == ("HTTP/1.1 200 OK", b"hello")
    assert [(found.method, found.path, found.query) for found in place.requests] == [
        ("GET", "/a", {"x": "1", "y": "/z"}),
        ("HEAD", "/b", {}),
        ("GET", "/c", {}),
    ]
    assert place.server.accepted == 1


async def test_a_request_in_several_packets_is_complete(place: Place) -> None:
    async with place.client() as (reader, writer):
        whole = get("/a", "Content-Length: 5", method="POST") + b"12345" + get("/b")
        for byte in whole:
            writer.write(bytes([byte]))
            await writer.drain()
        await read(reader)
        await read(reader)
    assert [found.path for found in place.requests] == ["/a", "/b"]


async def test_the_next_request_waits_for_the_answer_to_the_one_before(place: Place) -> None:
    place.at_once = False
    async with place.client() as (reader, writer):
        writer.write(get("/a") + get("/b"))
        waiting = await place.waiting.get()
        assert [found.path for found in place.requests] == ["/a"]
        waiting.answer(ANSWER)
        await read(reader)
        assert [found.path for found in place.requests] == ["/a", "/b"]


async def test_a_connection_is_closed_if_the_client_asks_for_it(place: Place) -> None:
    async with place.client() as (reader, writer):
        writer.write(get("/", "Connection: close"))
        assert (await reader.read()).endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_have_no_length(place: Place, status: int) -> None:
    place.at_once = False
    async with place.client() as (reader, writer):
        writer.write(get("/"))
        (await place.waiting.get()).answer(Answer(status, {}))
        assert b"Content-Length" not in await reader.readuntil(b"\r\n\r\n")


async def test_a_response_shorter_than_promised_is_aborted(place: Place) -> None:
    place.at_once = False
    async with place.client() as (reader, writer):
        writer.write(get("/"))
        (await place.waiting.get()).answer(ANSWER, promise=100)
        whole = await reader.read()
    assert b"Content-Length: 100" in whole
    assert whole.endswith(b"\r\n\r\nhello")


async def test_a_stream_is_sent_in_chunks_and_ended(place: Place) -> None:
    place.at_once = False
    async with place.client() as (reader, writer):
        writer.write(get("/"))
        stream = await place.waiting.get()
        stream.stream({})
        stream.chunk(b"0123456789abcdef")
        stream.raw(b"1\r\n!\r\n")
        stream.end()
        await reader.readuntil(b"\r\n\r\n")
        wanted = b"10\r\n0123456789abcdef\r\n1\r\n!\r\n0\r\n\r\n"
        assert await reader.readexactly(len(wanted)) == wanted


async def test_a_stalled_server_answers_requests_when_it_resumes(place: Place) -> None:
    place.server.stall()
    async with place.client() as (reader, writer):
        writer.write(get("/"))
        await writer.drain()
        await place.changed.wait()
        assert place.requests == []
        place.server.resume()
        assert await read(reader) == ("HTTP/1.1 200 OK", b"hello")


async def test_a_server_that_hangs_up_closes_at_once(place: Place) -> None:
    place.server.hang_up = True
    async with place.client() as (reader, _):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    assert place.server.accepted == 1


async def test_a_server_that_refuses_leaves_its_socket_s_file_and_listens_again(place: Place) -> None:
    place.server.refuse()
    assert place.path.exists()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_unix_connection(str(place.path))
    await place.server.listen(place.path)
    async with place.client() as (reader, writer):
        writer.write(get("/"))
        await read(reader)


async def test_closing_waits_until_every_connection_has_gone(place: Place) -> None:
    async with place.client() as (reader, writer):
        writer.write(get("/"))
        await read(reader)
        await place.server.close()
        assert place.server.connections == set()
        assert not place.server.listening


async def test_a_tcp_port_stays_the_same(tmp_path: Path) -> None:
    place = Place(tmp_path)
    port = await place.server.listen(0)
    place.server.refuse()
    assert await place.server.listen(port) == port
    await place.server.close()
