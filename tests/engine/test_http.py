from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from pilotage.engine.diagnosis import ClosedError, DialError
from pilotage.engine.http import HTTPClient
from pilotage.engine.transport import TCPDialer, UnixDialer
from tests.support.faults import Exchange, answer, puppet
from tests.support.leaks import assert_no_leaks
from tests.support.waiting import pass_time, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pilotage.engine.http_response import EngineResponse
    from pilotage.engine.http_stream import HTTPStream
    from pilotage.engine.transport import Factory
    from tests.support.faults import Behaviour, Puppet


@contextlib.asynccontextmanager
async def client(behaviour: Behaviour, *, limit: int = 100) -> AsyncIterator[tuple[HTTPClient, Puppet]]:
    async with assert_no_leaks(), puppet(behaviour) as engine:
        dialer = TCPDialer("127.0.0.1", engine.port)
        dialer.limit = limit
        made = HTTPClient(dialer, "engine.example:2375")
        try:
            yield made, engine
        finally:
            made.close()


async def get(http: HTTPClient, path: str = "/x", method: str = "GET", **query: str) -> EngineResponse:
    return await http.request(method, path, query, 5.0)


async def body(response: EngineResponse) -> bytes:
    found = b""
    try:
        while part := await response.read():
            found += part
    finally:
        response.close()
    return found


async def always(exchange: Exchange) -> None:
    await exchange.send(answer("200 OK", b"fine", "Content-Type: Text/Plain; charset=utf-8", "Server: Docker/28"))


async def test_a_response_has_status_headers_and_body_and_its_connection_is_reused() -> None:
    async with client(always) as (http, engine):
        for _ in range(3):
            response = await get(http, "/containers/json", filters='{"id":["a b&c"]}')
            assert (response.status, response.reason, response.headers["server"]) == (200, "OK", "Docker/28")
            assert (response.content_type, response.content_length) == ("text/plain", 4)
            assert await body(response) == b"fine"
        assert engine.connections == 1
        assert engine.requests[0] == "GET /containers/json?filters=%7B%22id%22:%5B%22a%20b%26c%22%5D%7D"
        assert engine.heads[0].headers["host"] == "engine.example:2375"
        assert engine.heads[0].headers["accept-encoding"] == "identity"


async def test_a_connection_whose_body_has_not_arrived_is_not_reused() -> None:
    async def begin(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    async with client(begin) as (http, engine):
        for _ in range(2):
            (await get(http)).close()
        assert engine.connections == 2


@pytest.mark.parametrize("header", ["Connection: close", "Transfer-Encoding: chunked"])
async def test_the_engine_decides_how_a_body_ends(header: str) -> None:
    async def send(exchange: Exchange) -> None:
        text = b"4\r\nfine\r\n0\r\n\r\n" if "chunked" in header else b"fine"
        await exchange.send(f"HTTP/1.1 200 OK\r\n{header}\r\n\r\n".encode() + text)
        if "close" in header:
            exchange.writer.close()

    async with client(send) as (http, engine):
        assert [await body(await get(http)) for _ in range(2)] == [b"fine", b"fine"]
        assert engine.connections == (2 if "close" in header else 1)


async def test_informational_responses_are_skipped() -> None:
    async def send(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer("200 OK", b"fine"))

    async with client(send) as (http, _):
        assert await body(await get(http)) == b"fine"


async def test_a_request_that_finds_its_connection_closed_is_repeated_unless_it_is_a_command() -> None:
    async def once(exchange: Exchange) -> None:
        if len(seen) % 2:
            exchange.reset()
        else:
            await exchange.send(answer("200 OK", b"fine"))
        seen.append(exchange.method)

    seen: list[str] = []
    async with client(once) as (http, engine):
        assert await body(await get(http)) == b"fine"
        assert await body(await get(http)) == b"fine"  # the second request was reset, the third answered
        assert (seen, engine.connections) == (["GET"] * 3, 2)
        with pytest.raises(ConnectionError):
            await get(http, method="POST")
        assert seen == ["GET"] * 3 + ["POST"]
        assert engine.heads[-1].headers["content-length"] == "0"


@pytest.mark.parametrize("ends", ["closed", "reset"])
async def test_a_command_does_not_use_a_connection_that_has_ended(ends: str) -> None:
    async def answer_and_leave(exchange: Exchange) -> None:
        await exchange.send(answer("200 OK", b"fine"))
        (exchange.writer.close if ends == "closed" else exchange.reset)()

    async with client(answer_and_leave) as (http, engine):
        assert await body(await get(http)) == b"fine"
        await until(lambda: not http._idle[-1][0].is_reusable)
        assert await body(await get(http, method="POST")) == b"fine"
        assert engine.connections == 2


async def test_a_connection_on_which_an_unasked_response_arrives_is_not_reused() -> None:
    async def send(exchange: Exchange) -> None:
        await exchange.send(answer("200 OK", b"fine"))
        if engine.connections == 1:
            await read.wait()
            await exchange.send(answer("200 OK", b"evil"))

    read = asyncio.Event()
    async with client(send) as (http, engine):
        assert await body(await get(http)) == b"fine"
        read.set()
        await until(lambda: not http._idle[-1][0].is_reusable)
        assert await body(await get(http)) == b"fine"
        assert engine.connections == 2


async def test_a_request_on_a_new_connection_is_not_repeated() -> None:
    async def hang_up(exchange: Exchange) -> None:
        exchange.reset()

    async with client(hang_up) as (http, engine):
        with pytest.raises(ConnectionError):
            await get(http)
        assert engine.connections == 1


async def test_no_more_connections_are_open_than_the_transport_allows() -> None:
    async with client(always, limit=1) as (http, engine):
        first = await get(http)
        second = asyncio.create_task(get(http))
        await until(lambda: http._slots._waiters)
        assert not second.done()
        await body(first)
        assert await body(await second) == b"fine"
        assert engine.connections == 1


async def test_a_failed_or_cancelled_request_frees_its_slot() -> None:
    async def wait(exchange: Exchange) -> None:
        await (exchange.gone() if exchange.path == "/slow" else always(exchange))

    async with client(wait, limit=1) as (http, engine):
        slow = asyncio.create_task(get(http, "/slow"))
        await until(lambda: "GET /slow" in engine.requests)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert await body(await get(http)) == b"fine"


async def test_closing_wakes_the_reader_of_an_open_response() -> None:
    async def begin(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await exchange.gone()

    async with client(begin) as (http, _):
        response = await get(http)
        assert await response.read() == b"half"
        reader = asyncio.create_task(response.read())
        await asyncio.sleep(0)  # it begins to wait
        http.close()
        with pytest.raises(ConnectionAbortedError):
            await reader
        with pytest.raises(ClosedError):
            await get(http)


async def test_closing_ends_a_request_that_waits_for_its_response() -> None:
    async with client(Exchange.gone) as (http, engine), asyncio.timeout(20):  # the engine never answers
        request = asyncio.create_task(get(http))
        await until(lambda: engine.requests == ["GET /x"])
        http.close()
        with pytest.raises(OSError, match=r"^$"):
            await request


async def test_closing_ends_a_request_that_is_still_connecting() -> None:
    class Slow(TCPDialer):
        async def dial(self, factory: Factory) -> HTTPStream:
            stream = await super().dial(factory)
            dialled.set()
            await go_on.wait()
            return stream

    dialled, go_on = asyncio.Event(), asyncio.Event()
    async with assert_no_leaks(), puppet(Exchange.gone) as engine, asyncio.timeout(20):
        http = HTTPClient(Slow("127.0.0.1", engine.port), "engine.example:2375")
        request = asyncio.create_task(get(http))
        await dialled.wait()
        http.close()
        go_on.set()
        with pytest.raises(ClosedError):
            await request
        assert engine.requests == []


async def test_a_failure_to_connect_is_a_dial_error() -> None:
    with pytest.raises(DialError) as caught:
        await get(HTTPClient(UnixDialer("/nowhere/s"), "engine.invalid"))
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.looptime
async def test_a_connection_that_was_idle_for_five_minutes_is_closed() -> None:
    class Idle:
        closed = False

        def close(self) -> None:
            self.closed = True

    http, old = HTTPClient(UnixDialer("/nowhere/s"), "engine.invalid"), Idle()
    http._idle.append((old, asyncio.get_running_loop().time()))  # type: ignore[arg-type]
    await pass_time(301)
    assert http._reusable() is None
    assert old.closed


@pytest.mark.looptime
async def test_of_idle_connections_the_one_used_last_is_used_again_and_old_ones_are_closed() -> None:
    class Idle:
        is_reusable = True
        closed = False

        def close(self) -> None:
            self.closed = True

    http, streams = HTTPClient(UnixDialer("/nowhere/s"), "engine.invalid"), [Idle() for _ in range(4)]
    for stream, wait in zip(streams, (5, 100, 100, 95), strict=True):
        http._idle.append((stream, asyncio.get_running_loop().time()))  # type: ignore[arg-type]
        await pass_time(wait)
    streams[3].is_reusable = False
    assert http._reusable() is streams[2]  # type: ignore[comparison-overlap]
    assert [stream.closed for stream in streams] == [False, False, False, True]
    await pass_time(2)
    assert http._reusable() is streams[1]  # type: ignore[comparison-overlap]
    assert [stream.closed for stream in streams] == [True, False, False, True]


async def test_a_request_names_its_program_and_has_no_body() -> None:
    async with client(always) as (http, engine):
        assert await body(await get(http, a="1", b="x/y", c="")) == b"fine"
        assert engine.requests == ["GET /x?a=1&b=x%2Fy&c="]
        headers = engine.heads[0].headers
        assert (headers["user-agent"], headers["accept"]) == ("pilotage", "*/*")
        assert "content-length" not in headers
        assert await body(await get(http)) == b"fine"
        assert engine.requests[1] == "GET /x"


async def test_after_closing_a_finished_exchange_is_not_kept() -> None:
    async with client(always) as (http, _):
        response = await get(http)
        http.close()
        response.close()
        assert (http._idle, http._open) == ([], set())
