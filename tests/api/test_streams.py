from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from pilotage.api import streams
from pilotage.api.streams import Streams
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


@contextlib.asynccontextmanager
async def endless() -> AsyncIterator[tuple[aiohttp.ClientSession, web.AppRunner]]:
    """Serve a stream that writes once and never ends."""
    app, found = web.Application(), Streams()

    async def write(response: web.StreamResponse) -> None:
        await response.write(b"begun")
        await asyncio.Event().wait()

    async def handle(request: web.Request) -> web.StreamResponse:
        return await found.serve(request, "text/plain", write)

    found.add_to(app)
    app.router.add_get("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
            yield session, runner
    finally:
        await runner.cleanup()


async def test_one_stream_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_MOST_STREAMS", 1)
    async with endless() as (session, _):
        async with session.get("/") as first:
            assert await first.content.readexactly(5) == b"begun"
            async with session.get("/") as second:
                assert second.status == 503
                assert (await second.json())["hint"] == "close one of them"


async def test_streams_end_when_the_api_shuts_down() -> None:
    async with endless() as (session, runner), session.get("/") as response:
        assert await response.content.readexactly(5) == b"begun"
        ended = asyncio.create_task(runner.cleanup())
        await until(ended.done)
