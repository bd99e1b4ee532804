"""What browsers get from the server of the loading page, and what no client can do to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import ClientSession, UnixConnector

from pilotage.sleep import page_server
from pilotage.sleep.loading_page import CONTENT_SECURITY_POLICY, WakeStatus
from pilotage.sleep.page_server import PageServer
from pilotage.sleep.state import Phase
from pilotage.xds.sleeping_routes import EVENTS_PATH, ROUTE_HEADER
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import ClientResponse

SHOP = {"x-pilotage-route": "shop"}  # as Envoy is told to set it
ASLEEP = WakeStatus(
    name="Shop", phase=Phase.ASLEEP, step="", done=(), waited=0, failure="", retry_in=None, typical=None
)
WAKING = msgspec.structs.replace(ASLEEP, phase=Phase.WAKING, step="starting db")
READY = msgspec.structs.replace(ASLEEP, phase=Phase.READY)


class Site:
    """A page server and the routes behind it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.statuses: dict[str, WakeStatus] = {"shop": ASLEEP}
        self.woken: list[str] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.server = PageServer(self.statuses.get, self.changed, self.wake)
        self.client: ClientSession

    async def changed(self, alias: str) -> None:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        try:
            await future
        finally:
            self.waiting.remove(future)

    def wake(self, alias: str) -> None:
        self.woken.append(alias)
        if self.statuses[alias].phase is Phase.ASLEEP:
            self.set(WAKING)

    def set(self, status: WakeStatus | None) -> None:
        if status is None:
            del self.statuses["shop"]
        else:
            self.statuses["shop"] = status
        for future in self.waiting:
            if not future.done():
                future.set_result(None)

    async def page(self, path: str = "/", **more: Any) -> tuple[ClientResponse, str]:
        async with self.client.get(f"http://shop.example{path}", **{"headers": SHOP, **more}) as response:
            return response, await response.text()

    @contextlib.asynccontextmanager
    async def events(self) -> AsyncIterator[Events]:
        async with self.client.get("http://shop.example/.pilotage/wake-events", headers=SHOP) as response:
            yield Events(response)

    async def raw(self, *, small: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        plain = socket.socket(socket.AF_UNIX)
        if small:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        plain.connect(str(self.path))
        return await asyncio.open_unix_connection(sock=plain)


class Events:
    def __init__(self, response: ClientResponse) -> None:
        self.response = response

    async def next(self) -> str:
        """Return the next block without its last newline; ``""`` at the end."""
        lines = []
        async with asyncio.timeout(60):
            while (line := (await self.response.content.readline()).decode()) not in {"", "\n"}:
                lines.append(line)
        return "".join(lines)

    async def event(self) -> tuple[str, dict[str, Any]]:
        """Return name and data of the next event."""
        block = await self.next()
        while block.startswith(("retry:", ":")):
            block = await self.next()
        name, data, *_ = block.splitlines() or ["event: ", "data: {}"]
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path / "page.sock")
    await site.server.start(str(site.path))
    async with ClientSession(connector=UnixConnector(str(site.path))) as site.client:
        yield site
    await site.server.close()
    assert site.waiting == []


# ---- pages


async def test_a_page_wakes_the_route_and_shows_that_it_wakes(site: Site) -> None:
    response, text = await site.page("/orders?page=2")
    assert site.woken == ["shop"]
    assert response.content_type == "text/html"
    assert "Starting db" in text
    assert f'data-events="{EVENTS_PATH}"' in text


async def test_a_page_is_neither_kept_nor_taken_for_the_service(site: Site) -> None:
    response, _ = await site.page()
    assert response.status == 503
    assert response.headers["Retry-After"] == "2"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Server"] == "pilotage"


async def test_head_gets_the_headers_of_the_page(site: Site) -> None:
    async with site.client.head("http://shop.example/", headers=SHOP) as response:
        assert (response.status, response.content_type, await response.text()) == (503, "text/html", "")
    assert site.woken == ["shop"]


@pytest.mark.parametrize("status", [READY, None])
async def test_where_nothing_sleeps_the_browser_asks_again_after_a_second_without_a_redirect(
    site: Site, status: WakeStatus | None
) -> None:
    site.set(status)
    response, text = await site.page("//evil.example/x", allow_redirects=False)
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert "Location" not in response.headers
    assert '<meta http-equiv="refresh" content="1; url=/.//evil.example/x">' in text


async def test_an_unknown_route_is_not_woken(site: Site) -> None:
    await site.page(headers={ROUTE_HEADER: "<b>other</b>"})
    assert site.woken == []


async def test_the_cookies_of_a_service_may_be_as_long_as_envoy_allows(site: Site) -> None:
    response, text = await site.page(f"/?{'q' * 20_000}", headers={**SHOP, "Cookie": f"a={'x' * 40_000}"})
    assert response.status == 503
    assert "Starting db" in text


@pytest.mark.parametrize(
    ("method", "headers", "status"), [("POST", SHOP, 405), ("GET", {}, 400), ("OPTIONS", SHOP, 405)]
)
async def test_other_requests_are_refused_and_wake_nothing(
    site: Site, method: str, headers: dict[str, str], status: int
) -> None:
    async with site.client.request(method, "http://shop.example/", headers=headers) as response:
        assert response.status == status
        assert response.headers["Cache-Control"] == "no-store"
    assert site.woken == []


async def test_a_failure_of_the_caller_is_logged_and_answered(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.server._wake = lambda alias: 1 / 0
    response, text = await site.page()
    assert (response.status, text) == (500, "internal error; see pilotage's log\n")
    assert "request / for route shop failed" in caplog.text


# ---- events


async def test_events_tell_each_change_until_the_route_is_ready(site: Site) -> None:
    site.set(WAKING)
    async with site.events() as events:
        assert (events.response.status, events.response.content_type) == (200, "text/event-stream")
        assert events.response.headers["Cache-Control"] == "no-store"
        assert await events.next() == "retry: 2000\n"
        name, data = await events.event()
        assert (name, data["phase"], data["headline"]) == ("waking_dep", "waking", "Starting db")
        site.set(msgspec.structs.replace(WAKING, step="starting shop", done=("starting db",)))
        name, data = await events.event()
        assert (name, data["step"], data["done"]) == ("dep_ready", "Starting shop", ["Starting db"])
        site.set(READY)
        assert (await events.event())[0] == "ready"
        assert await events.next() == ""


async def test_watching_wakes_nothing(site: Site) -> None:
    async with site.events() as events:
        assert (await events.event())[0] == "asleep"
    assert site.woken == []


async def test_a_change_while_an_event_is_sent_is_not_missed(site: Site) -> None:
    asked = 0

    def status(alias: str) -> WakeStatus:
        nonlocal asked
        asked += 1
        if asked == 2:  # the first is the check before the stream begins
            asyncio.get_running_loop().call_soon(site.set, READY)
        return site.statuses[alias]

    site.server._status = status
    async with site.events() as events:
        assert [(await events.event())[0], (await events.event())[0]] == ["asleep", "ready"]


async def test_a_stream_ends_when_the_route_goes(site: Site) -> None:
    async with site.events() as events:
        await events.event()
        site.set(None)
        assert await events.next() == ""
    async with site.events() as events:
        assert events.response.status == 404


async def test_a_quiet_stream_gets_comments(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_server, "_HEARTBEAT", 0.01)
    async with site.events() as events:
        await events.event()
        assert [await events.next(), await events.next()] == [": nothing new\n"] * 2
        assert len(site.waiting) == 1  # the same call goes on


async def test_many_changes_at_once_become_one_event(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    paused = asyncio.Event()
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        await (paused.wait() if seconds else sleep(0))

    async with site.events() as events:
        await events.event()
        monkeypatch.setattr(asyncio, "sleep", pause)
        for number in range(10):
            site.set(msgspec.structs.replace(WAKING, step=f"starting {number}"))
            await sleep(0)
        paused.set()
        assert (await events.event())[1]["step"] == "Starting 9"
        site.set(READY)
        assert (await events.event())[0] == "ready"


async def test_one_route_takes_only_some_of_the_streams(site: Site) -> None:
    site.server._most_of_route = 1
    async with site.events() as first:
        await first.event()
        async with site.events() as second:
            assert (second.response.status, second.response.headers["Retry-After"]) == (503, "2")
    await until(lambda: not site.server._streams_of)
    async with site.events() as third:
        await third.event()


async def test_streams_are_limited_and_a_place_is_free_as_soon_as_a_browser_leaves(site: Site) -> None:
    site.server._most_streams = 2
    async with site.events() as first:
        await first.event()
        async with site.events() as second:
            await second.event()
            async with site.events() as third:
                assert (third.response.status, third.response.headers["Retry-After"]) == (503, "2")
                assert await third.response.text() == "there are already 2 event streams\n"
            response, _ = await site.page()
            assert response.content_type == "text/html"
        await until(lambda: len(site.server._streams) == 1)
        async with site.events() as fourth:
            assert fourth.response.status == 200


async def test_a_browser_that_does_not_read_is_dropped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_server, "_PAUSE", 0)
    reader, writer = await site.raw(small=True)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(f"GET {EVENTS_PATH} HTTP/1.1\r\nHost: x\r\n{ROUTE_HEADER}: shop\r\n\r\n".encode())
    await until(lambda: site.waiting)
    sent = 0
    async with asyncio.timeout(60):
        while site.server._streams:
            site.set(msgspec.structs.replace(WAKING, failure="x" * 900, waited=sent))
            sent += 1
            await asyncio.sleep(0)
    assert sent < 5000
    writer.transport.abort()
    await asyncio.sleep(0)


async def test_a_failing_stream_ends_and_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async def changed(_: str) -> None:
        raise KeyError("shop")

    site.server._changed = changed
    async with site.events() as events:
        await events.event()
        assert await events.next() == ""
    assert "the event stream for route shop failed" in caplog.text


async def test_closing_ends_streams_and_frees_the_socket(site: Site) -> None:
    async with site.events() as events:
        await events.event()
        closing = asyncio.create_task(site.server.close())
        for _ in range(20):  # turns of the event loop: it does not wait until connections are given up
            await asyncio.sleep(0)
        assert site.waiting == []
        await closing
        assert site.server._streams == set()
    assert not site.path.exists()
    await site.server.close()


# ---- connections


async def test_a_connection_without_a_request_is_closed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_server, "_SILENCE", 0.05)
    reader, writer = await site.raw()
    writer.write(b"GET / HTTP/1.1\r\nHost:")
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()


async def test_a_stream_may_be_longer_than_the_wait_for_a_request(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_server, "_SILENCE", 0.05)
    monkeypatch.setattr(page_server, "_HEARTBEAT", 0.02)
    async with site.events() as events:
        await events.event()
        for _ in range(5):
            assert await events.next() == ": nothing new\n"


async def test_further_connections_are_closed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_server, "_MORE", 2)
    monkeypatch.setattr(page_server, "share_of_descriptors", lambda _part, _most: 1)
    site = Site(tmp_path / "page.sock")
    await site.server.start(str(site.path))
    open_ones = [await site.raw() for _ in range(3)]
    reader, writer = await site.raw()
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    for _, other in [*open_ones, (reader, writer)]:
        other.transport.abort()
    await site.server.close()


async def test_a_malformed_request_is_answered_without_a_line_in_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await site.raw()
    writer.write(b"\x16\x03\x01\r\n\r\n")
    answer = await reader.read()
    assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert answer.endswith(b"malformed request\n")
    assert caplog.text == ""
    writer.close()
