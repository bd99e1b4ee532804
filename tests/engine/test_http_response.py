from __future__ import annotations

import asyncio

import pytest

from pilotage.engine.http_response import EngineResponse


class Source:
    """Records whether it is paused."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


def response(source: Source | None = None, **headers: str) -> EngineResponse:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return EngineResponse(200, "OK", named, source or Source())


def test_headers_say_what_the_body_is_and_how_long() -> None:
    found = response(content_type=" Text/HTML ; charset=utf-8", content_length="12")
    assert (found.content_type, found.content_length) == ("text/html", 12)
    assert (response().content_type, response().content_length) == ("", 0)


async def test_a_reader_gets_all_that_has_arrived_and_then_the_end() -> None:
    it = response()
    it.feed(b"a")
    it.feed(b"b")
    assert await it.read() == b"ab"
    reader = asyncio.create_task(it.read())
    await asyncio.sleep(0)
    it.feed(b"c")
    assert await reader == b"c"
    it.end()
    assert [await it.read(), await it.read()] == [b"", b""]


async def test_a_reader_gets_what_arrived_before_an_error() -> None:
    it = response()
    it.feed(b"a")
    it.end(OSError("lost"))
    it.end()
    assert await it.read() == b"a"
    for _ in range(2):
        with pytest.raises(OSError, match="lost"):
            await it.read()


async def test_the_source_is_paused_while_an_eighth_of_a_megabyte_waits() -> None:
    source = Source()
    it = response(source)
    it.feed(bytes(2**17 - 1))
    assert not source.calls
    it.feed(bytes(1))
    it.feed(bytes(2**17))
    assert source.calls == ["pause"]
    assert len(await it.read()) == 2**18
    assert source.calls == ["pause", "resume"]
    it.feed(bytes(1))
    await it.read()
    assert source.calls == ["pause", "resume"]


async def test_closing_wakes_the_reader_and_reports_it_once() -> None:
    it, closed = response(), []
    it.on_close = lambda: closed.append(it)
    reader = asyncio.create_task(it.read())
    await asyncio.sleep(0)
    it.close()
    it.close()
    with pytest.raises(ConnectionAbortedError, match="the response was closed"):
        await reader
    assert closed == [it]


async def test_a_cancelled_reader_leaves_the_body_to_the_next() -> None:
    it = response()
    reader = asyncio.create_task(it.read())
    await asyncio.sleep(0)
    reader.cancel()
    it.feed(b"a")
    await asyncio.wait([reader])
    assert reader.cancelled()
    assert await it.read() == b"a"
