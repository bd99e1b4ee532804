from __future__ import annotations

import asyncio
import random
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from pilotage.engine.http_stream import CutShortError, DisconnectedError, HTTPStream, NotHTTPError

if TYPE_CHECKING:
    from pilotage.engine.http_response import EngineResponse


class Transport:
    """Records what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, _name: str) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def stream() -> HTTPStream:
    made, transport = HTTPStream(), Transport()
    made.connection_made(transport)  # type: ignore[arg-type]
    return made


async def begin(it: HTTPStream, received: bytes, request: bytes = b"GET / HTTP/1.1\r\n\r\n") -> EngineResponse:
    task = asyncio.create_task(it.request(request))
    await asyncio.sleep(0)
    it.data_received(received)
    return await task


async def everything(response: EngineResponse) -> bytes:
    found = b""
    while part := await response.read():
        found += part
    return found


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


async def test_a_request_is_written_once_and_answered_with_headers_in_lower_case() -> None:
    it = stream()
    found = await begin(it, b"HTTP/1.1 404 Not Found\r\nServer:Docker/28 (linux)  \r\nX-A: 1\r\nx-a:2\r\n\r\n")
    assert (found.status, found.reason) == (404, "Not Found")
    assert found.headers == {"server": "Docker/28 (linux)", "x-a": "1, 2"}
    assert it.transport.written == b"GET / HTTP/1.1\r\n\r\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("received", "body", "reusable"),
    [
        (OK + b"Content-Length: 4\r\n\r\nfine", b"fine", True),
        (OK + b"Content-Length: 0\r\n\r\n", b"", True),
        (OK + b"Content-Length: 4\r\nConnection: Close\r\n\r\nfine", b"fine", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine", b"fine", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 304\r\n\r\n", b"", True),
        (CHUNKED + b"3;x=y\r\nfin\r\n01 \r\ne\r\n0\r\n\r\n", b"fine", True),
        (CHUNKED + b"A\r\n0123456789\r\n0\r\nExpires: 0\r\n\r\n", b"0123456789", True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx", b"x", True),
    ],
)
async def test_a_body_ends_as_its_headers_say_however_it_is_cut(received: bytes, body: bytes, reusable: bool) -> None:
    cuts = [list(range(1, len(received))), [], *(sorted(random.sample(range(len(received)), 3)) for _ in range(20))]
    for places in cuts:
        it = stream()
        task = asyncio.create_task(it.request(b"GET"))
        await asyncio.sleep(0)
        for start, end in zip([0, *places], [*places, len(received)], strict=True):
            assert not it.is_reusable
            it.data_received(received[start:end])
        assert await everything(await task) == body
        assert it.is_reusable is reusable


async def test_one_connection_carries_requests_in_turn() -> None:
    it = stream()
    for number in range(3):
        found = await begin(it, CHUNKED + b"1\r\n%d\r\n0\r\n\r\n" % number)
        assert await everything(found) == b"%d" % number


async def test_a_large_body_is_read_in_pieces_that_malloc_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    loop, sizes, receive = asyncio.get_running_loop(), set(), HTTPStream.data_received

    def received(it: HTTPStream, data: bytes) -> None:
        sizes.add(len(data))
        receive(it, data)

    monkeypatch.setattr(HTTPStream, "data_received", received)
    theirs.setblocking(False)
    _, it = await loop.create_connection(HTTPStream, sock=ours)
    sending = asyncio.create_task(loop.sock_sendall(theirs, OK + b"Content-Length: 1000000\r\n\r\n" + bytes(10**6)))
    assert len(await everything(await it.request(b"GET / HTTP/1.1\r\n\r\n"))) == 10**6
    assert max(sizes) == 2**16
    await sending
    theirs.close()
    it.close()
    await it.closed


async def test_the_response_to_head_has_no_body() -> None:
    it = stream()
    found = await begin(it, OK + b"Content-Length: 4\r\n\r\n", b"HEAD / HTTP/1.1\r\n\r\n")
    assert await everything(found) == b""
    assert it.is_reusable


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    it = stream()
    found = await begin(it, OK + b"\r\nfi")
    it.data_received(b"ne")
    it.connection_lost(None)
    assert await everything(found) == b"fine"
    assert not it.is_reusable
    assert it.closed.done()


@pytest.mark.parametrize("received", [OK + b"\r\nhalf", OK + b"Content-Length: 9\r\n\r\nhalf", CHUNKED + b"9\r\nhalf"])
async def test_a_lost_connection_cuts_a_body_short(received: bytes) -> None:
    it = stream()
    found = await begin(it, received)
    reset = ConnectionResetError()
    it.connection_lost(reset)
    with pytest.raises(CutShortError) as caught:
        await everything(found)
    assert caught.value.__cause__ is reset


@pytest.mark.parametrize("received", [OK + b"Content-Length: 9\r\n\r\nhalf", CHUNKED + b"4\r\nhalf\r\n", CHUNKED])
async def test_a_connection_that_ends_in_good_order_cuts_a_body_short_all_the_same(received: bytes) -> None:
    it = stream()
    found = await begin(it, received)
    it.connection_lost(None)
    with pytest.raises(CutShortError):
        await everything(found)


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
async def test_a_connection_that_ends_before_the_headers_fails_the_request(error: Exception | None) -> None:
    it = stream()
    task = asyncio.create_task(it.request(b"GET"))
    await asyncio.sleep(0)
    it.data_received(b"HTTP/1.1 200")
    it.connection_lost(error)
    with pytest.raises(DisconnectedError if error is None else ConnectionResetError):
        await task
    with pytest.raises(DisconnectedError):
        await it.request(b"GET")


@pytest.mark.parametrize(
    "received",
    [
        b"\x15\x03\x03\x00\x02\x02\x0a",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nServer: x\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: 1\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA B: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\xe9: 1\r\n\r\n",
        OK + b"A: a\0b\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        OK + b"Content-Length: \xb2\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"A: " + b"a" * 2**16 + b"\r\n\r\n",
        OK + b"A: " + b"a" * 2**16,
    ],
)
async def test_what_is_not_http_fails_the_request_and_closes_the_connection(received: bytes) -> None:
    it = stream()
    with pytest.raises(NotHTTPError) as caught:
        await begin(it, received)
    assert received.startswith(caught.value.args[0])
    assert it.transport.is_closing()


@pytest.mark.parametrize(
    "rest",
    [
        b"g\r\n",
        b"-1\r\n",
        b"\r\n",
        b"1\r\nab\r\n",
        b"1\r\na\rb",
        b"f" * 16 + b"\r\n",
        b"1" * 2**12,
        b"1\nx\n0\n\n" + b" " * 2**12,
    ],
)
async def test_a_broken_chunk_fails_the_body_and_closes_the_connection(rest: bytes) -> None:
    it = stream()
    found = await begin(it, CHUNKED + rest)
    with pytest.raises(NotHTTPError):
        await everything(found)
    assert it.transport.is_closing()


async def test_a_connection_that_sends_unasked_is_closed() -> None:
    it = stream()
    found = await begin(it, OK + b"Content-Length: 1\r\n\r\nx" + OK)
    assert await everything(found) == b"x"
    assert it.transport.is_closing()
    assert not it.is_reusable


async def test_many_tiny_chunks_take_time_in_proportion_to_their_number() -> None:
    calls: list[int] = []

    class Counting(HTTPStream):
        def _feed(self, data: bytes, at: int, end: int) -> int:
            calls.append(end - at)
            return super()._feed(data, at, end)

    it: Any = Counting()
    it.connection_made(Transport())
    found = await begin(it, CHUNKED + b"1\r\nx\r\n" * 2_000)
    assert await found.read() == b"x" * 2_000
    assert calls == [1] * 2_000


async def test_a_flood_of_tiny_chunks_is_not_parsed_to_its_end() -> None:
    it = stream()
    found = await begin(it, CHUNKED + b"1\r\nx\r\n" * 40_000)
    with pytest.raises(NotHTTPError):
        await everything(found)
    assert it.transport.is_closing()


@pytest.mark.parametrize("value", [b" " * 60_000 + b"\0", b"x" + b" " * 60_000 + b"y", b"\t " * 30_000])
async def test_a_header_costs_no_more_than_its_length(value: bytes) -> None:
    """With an expression that backtracks, each of these takes minutes; the time limit of all tests is one."""
    it = stream()
    received = OK + b"a:" + value + b"\r\nContent-Length: 0\r\n\r\n"
    if b"\0" in value:
        with pytest.raises(NotHTTPError):
            await begin(it, received)
    else:
        assert (await begin(it, received)).headers["a"] == value.strip().decode()


async def test_informational_responses_and_trailers_are_limited() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    assert (await begin(stream(), early * 20 + OK + b"Content-Length: 0\r\n\r\n")).status == 200
    with pytest.raises(NotHTTPError):
        await begin(stream(), early * 21 + OK + b"Content-Length: 0\r\n\r\n")
    response = await begin(stream(), CHUNKED + b"0\r\n" + b"a: b\r\n" * 21)
    with pytest.raises(NotHTTPError):
        await everything(response)


async def test_a_tls_connection_closes_at_once_though_the_engine_does_not_end_it() -> None:
    authority = trustme.CA()
    serving, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(trusting)
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # never sees that the client ends TLS
        await accepted.put(writer)

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=serving) as server:
        host, port = server.sockets[0].getsockname()
        _, stream = await asyncio.get_running_loop().create_connection(
            HTTPStream, host, port, ssl=trusting, server_hostname="localhost"
        )
        writer = await accepted.get()
        stream.close()
        for _ in range(3):  # steps of the loop, of which asyncio.run makes a few more before it ends
            await asyncio.sleep(0)
        assert stream.closed.done()
        writer.transport.abort()
