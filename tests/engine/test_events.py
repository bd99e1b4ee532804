from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilotage.core.errors import EngineRefused, EngineUnreachable
from pilotage.engine.address import Address
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.connection import Connection, Timeouts
from pilotage.engine.events import EventStream
from pilotage.engine.pool import Pool, new_client
from tests.support.faults import Exchange, behave, json_answer, puppet
from tests.support.leaks import assert_no_leaks
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.engines import Engine

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def line(action: str, **attributes: str) -> bytes:
    event = {"Type": "container", "Action": action, "Actor": {"ID": "a", "Attributes": attributes}}
    return json.dumps(event).encode() + b"\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Sender:
    """A stream that sends what it is told to, and ends as it is told to."""

    def __init__(self, *pieces: bytes, end: str = "wait") -> None:
        self.pieces = pieces
        self.end = end

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.send(HEAD)
        for piece in self.pieces:
            await exchange.send(chunk(piece))
            await asyncio.sleep(0)
        if self.end == "orderly":
            await exchange.send(b"0\r\n\r\n")
        elif self.end == "cut":
            exchange.writer.close()
        elif self.end == "reset":
            await asyncio.sleep(0.05)
            exchange.reset()
        else:
            await exchange.gone()


async def collect(sender: Sender) -> tuple[list[str], str]:
    """Return the actions seen, and the error at the end."""
    actions: list[str] = []
    async with puppet(behave(events=sender)) as engine, assert_no_leaks(), Pool() as pool:
        async with await new_client(DockerProviderConfig(engine.url, name="far"), pool=pool) as client:
            async with client.events() as stream:
                try:
                    async for event in stream:
                        actions.append(event.Action)  # noqa: PERF401  # what came before the error counts
                except EngineUnreachable as error:
                    return actions, str(error)
    raise AssertionError("the stream ended without an error")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("orderly", "far: the engine ended the event stream; it may be stopping or restarting"),
        ("cut", "far: the response to GET /events was cut short"),
        ("reset", "far: the response to GET /events was cut short"),
    ],
)
async def test_a_stream_that_ends_is_an_error_after_its_last_event(end: str, words: str) -> None:
    actions, error = await collect(Sender(line("start"), line("die"), end=end))
    assert actions == ["start", "die"]
    assert words in error


@pytest.mark.parametrize(
    "garbage",
    [
        *(
            b"nonsense\n",
            b'{"Type": 1}\n',
            b"[]\n",
            b'{"half": \n',
            b'{"stream": "hello"}\n',
            b"{}\n",
            b'{"a": "\xff"}\n',
        ),
        b'{"Type":"container","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    ],
)
async def test_garbage_is_an_error_after_the_last_event_before_it(garbage: bytes) -> None:
    actions, error = await collect(Sender(line("start") + garbage + line("die"), line("die")))
    assert actions == ["start"]
    assert "far: the event stream contains something that is not an event" in error


@pytest.mark.parametrize("garbage", [b"nonsense", b"\x00\xff", b"  []"])
async def test_garbage_without_the_end_of_a_line_is_an_error_at_once(garbage: bytes) -> None:
    actions, error = await collect(Sender(line("start"), garbage))
    assert actions == ["start"]
    assert "far: the event stream contains something that is not an event" in error


async def test_an_endless_line_is_an_error() -> None:
    actions, error = await collect(Sender(b'{"Type": "', *[b"x" * 2**18] * 20))
    assert actions == []
    assert "not an event" in error


async def test_long_events_are_accepted() -> None:
    long = line("start", label="x" * 3_000_000)
    pieces = [long[at : at + 50_000] for at in range(0, len(long), 50_000)]
    actions, _ = await collect(Sender(*pieces, end="orderly"))
    assert actions == ["start"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 400)), empty=st.booleans())
def test_events_are_found_however_the_stream_is_cut_into_pieces(cuts: list[int], empty: bool) -> None:
    whole = b"\n".join(line(action).strip() for action in ("create", "start", "die")) + b"\n" + b"\n" * empty
    stream = EventStream(Connection(Address("unix", path="/s")), "far", {}, Timeouts())
    edges = [0, *sorted(cut for cut in cuts if cut <= len(whole)), len(whole)]
    for begin, end in pairwise(edges):
        stream._feed(whole[begin:end])
    assert [event.Action for event in stream._ready] == ["create", "start", "die"]


async def test_the_time_since_the_beginning_of_an_event_is_known() -> None:
    begun = asyncio.Event()

    async def in_two_parts(exchange: Exchange) -> None:
        await exchange.send(HEAD + chunk(line("start") + line("die")[:9]))
        await begun.wait()
        await exchange.send(chunk(line("die")[9:]))
        await exchange.gone()

    async with puppet(behave(events=in_two_parts)) as engine, Pool() as pool:
        async with await new_client(engine.url, pool=pool) as client, client.events() as stream:
            assert stream.waiting_for_end() == 0
            await anext(stream)
            await until(lambda: stream.waiting_for_end() > 0.02)
            begun.set()
            await anext(stream)
            assert stream.waiting_for_end() == 0


async def test_entering_waits_for_the_response_but_not_for_an_event() -> None:
    async with puppet(behave(events=Sender())) as engine, Pool() as pool:
        async with await new_client(engine.url, pool=pool) as client, client.events():
            assert engine.requests[-1] == "GET /v1.51/events"
            assert await client.list_containers() == []


async def test_an_engine_that_does_not_respond_times_out() -> None:
    async with puppet(behave(events=Exchange.gone)) as engine, assert_no_leaks(), Pool(Timeouts(request=0.3)) as pool:
        async with await new_client(engine.url, pool=pool) as client:
            with pytest.raises(EngineUnreachable, match="no response to GET /events within"):
                async with client.events():
                    pass


async def test_a_silent_stream_does_not_time_out() -> None:
    async with puppet(behave(events=Sender())) as engine, assert_no_leaks(), Pool(Timeouts(request=0.2)) as pool:
        async with await new_client(engine.url, pool=pool) as client, client.events() as stream:
            silent = asyncio.ensure_future(anext(stream))
            await asyncio.wait([silent], timeout=1)
            assert not silent.done()
            stream.close()
            with pytest.raises(StopAsyncIteration):
                await silent


async def test_closing_from_another_task_ends_the_iteration() -> None:
    async with puppet(behave(events=Sender(line("start")))) as engine, assert_no_leaks(), Pool() as pool:
        async with await new_client(engine.url, pool=pool) as client, client.events() as stream:
            seen: list[str] = []

            async def watch() -> None:
                async for event in stream:
                    seen.append(event.Action)  # noqa: PERF401  # the test waits for the first one

            watching = asyncio.create_task(watch())
            await until(lambda: stream._response is not None and engine.requests[-1].endswith("/events"))
            await until(lambda: seen)
            stream.close()
            stream.close()
            await watching
            assert seen == ["start"]


async def test_closing_the_pool_ends_a_stream_with_an_error() -> None:
    async with puppet(behave(events=Sender())) as engine, assert_no_leaks():
        pool = Pool()
        client = await new_client(engine.url, pool=pool)
        async with client.events() as stream:
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            await pool.close()
            with pytest.raises(EngineUnreachable, match="the client was closed during the request"):
                await waiting
        await client.close()


async def test_a_cancelled_stream_leaves_nothing() -> None:
    async with puppet(behave(events=Sender(line("start")))) as engine, assert_no_leaks(), Pool() as pool:
        async with await new_client(engine.url, pool=pool) as client:
            started = asyncio.Event()

            async def watch() -> None:
                async with client.events() as stream:
                    async for _ in stream:
                        started.set()

            for _ in range(3):
                started.clear()
                watching = asyncio.create_task(watch())
                await started.wait()
                watching.cancel()
                await asyncio.wait([watching])
                assert watching.cancelled()
            await client.ping()


async def test_a_stream_that_is_not_entered_is_empty() -> None:
    stream = EventStream(Connection(Address("unix", path="/s")), "far", {}, Timeouts())
    assert [event async for event in stream] == []


async def test_filters_and_since_are_sent() -> None:
    async with puppet(behave(events=Sender())) as engine, Pool() as pool:
        async with await new_client(engine.url, pool=pool) as client:
            async with client.events(filters={"type": ("container",), "event": ["start"]}, since="5.000000001"):
                assert engine.requests[-1] == (
                    "GET /v1.51/events?filters=%7B%22event%22:%5B%22start%22%5D,%22type%22:%5B%22container%22%5D%7D"
                    "&since=5.000000001"
                )


async def test_a_refused_stream_is_an_error_on_entering() -> None:
    refused = json_answer({"message": "no"}, status="403 Forbidden")
    async with puppet(behave(events=refused)) as engine, Pool() as pool:
        async with await new_client(engine.url, pool=pool) as client:
            with pytest.raises(EngineRefused, match="allow GET /events there"):
                async with client.events():
                    pass


# ---- real engines


async def test_a_real_engines_stream_misses_nothing_of_what_happens_after_entering(engine: Engine) -> None:
    async with assert_no_leaks(), Pool() as pool, await new_client(engine.host, pool=pool) as client:
        async with client.events(filters={"type": ["container"]}) as stream:
            container = engine.run("stream-one")
            engine.rm("stream-one")
            seen = []
            async for event in stream:
                if event.Actor is not None and container == event.Actor.ID:
                    seen.append(event.Action)
                if event.Action == "destroy":
                    break
    assert [action for action in seen if action in {"create", "start", "die", "destroy"}] == [
        "create",
        "start",
        "die",
        "destroy",
    ]


async def test_since_replays_from_a_time_inclusively(engine: Engine) -> None:
    async with Pool() as pool, await new_client(engine.host, pool=pool) as client:
        async with client.events(filters={"type": ["container"]}) as stream:
            engine.create("stream-two")
            first = await anext(stream)
        moment = f"{first.timeNano // 10**9}.{first.timeNano % 10**9:09}"
        async with client.events(filters={"type": ["container"]}, since=moment) as stream:
            assert await anext(stream) == first


async def test_a_real_engine_that_is_killed_cuts_the_stream(own_engine: Engine) -> None:
    assert own_engine.daemon is not None
    async with Pool() as pool, await new_client(own_engine.host, pool=pool) as client:
        async with client.events() as stream:
            own_engine.daemon.kill()
            with pytest.raises(EngineUnreachable, match="the response to GET /events was cut short"):
                await anext(stream)
