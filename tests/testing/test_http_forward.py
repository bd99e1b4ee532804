"""Forwarding of one request between two connections, without TLS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pilotage.testing.http_forward import Head, forward, read_head
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable


async def exchange(request: bytes, response: bytes, *, late: bool = False, wait: bool = False) -> tuple[bytes, bytes]:
    """Forward a request to a server that gives a response; return what the server and the client received."""
    seen: list[bytes] = []
    asked, released = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        seen[0] += await reader.read(1000) if b"ength" in seen[0] or b"chunked" in seen[0] else b""
        head, _, body = response.partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        if wait:
            await released.wait()
        writer.write(body)
        writer.close()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        assert head is not None
        server = await asyncio.open_connection("127.0.0.1", port_of(origin))
        read = server[0].read

        def read_body(size: int) -> Awaitable[bytes]:  # called once the head has been read
            asked.set()
            return read(size)

        server[0].read = read_body  # type: ignore[method-assign,assignment]
        await forward(head, (reader, writer), server, late=late)
        server[1].close()
        writer.close()

    def port_of(server: asyncio.Server) -> int:
        return server.sockets[0].getsockname()[1]

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0) as origin,
        await asyncio.start_server(proxy, "127.0.0.1", 0) as front,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(front))
        writer.write(request)
        if wait:
            await asked.wait()
            if late:
                for _ in range(20):  # what has been sent on loopback arrives within a few turns
                    await asyncio.sleep(0)
                seen.append(b"early" if reader._buffer else b"nothing yet")  # type: ignore[attr-defined]
            else:
                await until(lambda: reader._buffer)  # type: ignore[attr-defined]
                seen.append(b"early")
            released.set()
        got = await reader.read()
        writer.close()
    return b"|".join(seen), got


async def test_a_body_is_passed_on_as_it_is_framed() -> None:
    body = b"3\r\nabc\r\n0\r\n\r\n"
    request = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    seen, got = await exchange(request, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert seen.endswith(body)
    assert got == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_response_that_ends_with_its_connection_becomes_chunked() -> None:
    _, got = await exchange(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nall")
    assert got == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n0\r\n\r\n"


@pytest.mark.parametrize(("late", "expected"), [(True, b"nothing yet"), (False, b"early")])
async def test_a_head_can_wait_for_the_body(late: bool, expected: bytes) -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    seen, got = await exchange(b"GET / HTTP/1.1\r\n\r\n", response, late=late, wait=True)
    assert seen.endswith(expected)
    assert got == response


async def test_an_upgrade_carries_bytes_both_ways() -> None:
    request = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
    seen, got = await exchange(request, b"HTTP/1.1 101 Switching\r\nUpgrade: echo\r\n\r\nhello")
    assert b"Connection: upgrade" in seen
    assert got.endswith(b"hello")


async def test_a_server_that_says_nothing_is_an_error() -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        pair = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        with pytest.raises(ConnectionError):
            await forward(Head("GET / HTTP/1.1", ()), (asyncio.StreamReader(), pair[1]), pair, late=False)
        pair[1].close()


def test_replacing_fields_ignores_case_and_removes_empty_ones() -> None:
    head = Head("GET / HTTP/1.1", (("HOST", "a"), ("x-one", "1")))
    assert head.replaced(("Host", "b"), ("X-One", "")).fields == (("Host", "b"),)
