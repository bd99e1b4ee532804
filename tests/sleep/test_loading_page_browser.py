"""The loading page in a real Chromium: it follows the wake, reports failures, and makes way for the service."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import ClientError, ClientSession, UnixConnector, web

from pilotage.sleep.loading_page import WakeStatus
from pilotage.sleep.page_server import PageServer
from pilotage.sleep.state import Phase
from pilotage.xds.sleeping_routes import EVENTS_PATH, ROUTE_HEADER
from tests.support.browser import Tab, chromium, open_tab
from tests.support.envoy import web_server
from tests.support.required import required
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path


pytestmark = [pytest.mark.slow, pytest.mark.process]

WAKING = WakeStatus(
    name="Shop", phase=Phase.WAKING, step="starting db", done=(), waited=0, failure="", retry_in=None, typical=5
)
FAILED = msgspec.structs.replace(WAKING, phase=Phase.FAILED, failure="<b>exit code 1</b>", retry_in=600)
READY = msgspec.structs.replace(WAKING, phase=Phase.READY)


class Site:
    """A service behind something like Envoy: the page server answers until the service is there."""

    def __init__(self, path: Path) -> None:
        self.status = WAKING
        self.is_there = False
        self.woken = 0
        self.streams = 0
        self.refused = 0
        self.path = path
        self.server = self._new()
        self._changed = asyncio.Event()

    def _new(self) -> PageServer:
        return PageServer(lambda _: self.status, self._change, self._wake)

    async def _change(self, _: str) -> None:
        await self._changed.wait()

    def _wake(self, _: str) -> None:
        self.woken += 1

    def set(self, status: WakeStatus, **more: Any) -> None:
        self.status = msgspec.structs.replace(status, **more)
        self._changed.set()
        self._changed = asyncio.Event()

    async def restart(self) -> None:
        await self.server.close()
        self.server = self._new()
        await self.server.start(str(self.path))

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.is_there:
            status = 404 if request.path == EVENTS_PATH else 200
            return web.Response(status=status, text='<p id="service">the shop</p>', content_type="text/html")
        if request.path == EVENTS_PATH:
            self.streams += 1
            if self.refused:
                return web.Response(status=503)
        async with (
            ClientSession(connector=UnixConnector(str(self.path))) as client,
            client.request(request.method, f"http://shop{request.path_qs}", headers={ROUTE_HEADER: "shop"}) as got,
        ):
            kept = ("Content-Type", "Content-Security-Policy", "Cache-Control", "Retry-After")
            headers = {name: got.headers[name] for name in kept if name in got.headers}
            response = web.StreamResponse(status=got.status, headers=headers)
            await response.prepare(request)
            with contextlib.suppress(OSError, ClientError):
                async for part in got.content.iter_any():
                    await response.write(part)
            return response


@pytest.fixture(scope="module")
def browser() -> Iterator[str]:
    with required(), chromium() as address:
        yield address


@pytest.fixture
async def tab(browser: str) -> AsyncIterator[Tab]:
    async with open_tab(browser) as tab:
        yield tab


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[tuple[Site, str]]:
    site = Site(tmp_path / "page.sock")
    await site.server.start(str(site.path))
    async with web_server(site.answer) as port:
        yield site, f"http://127.0.0.1:{port}/orders?page=2#top"
        await site.server.close()


async def test_the_page_follows_the_wake_and_makes_way_for_the_service(site: tuple[Site, str], tab: Tab) -> None:
    shop, url = site
    await tab.call("Page.navigate", url=url)
    await tab.shows("headline", "Starting db")
    assert float(await tab.value("document.getElementById('progress').value")) < 0.9
    shop.set(WAKING, step="waiting for shop to answer", done=("starting db", "<i>starting</i> shop"), waited=61)
    await tab.shows("headline", "Waiting for shop to answer")
    assert await tab.text("done") == "Starting db\n<i>starting</i> shop"
    await tab.shows("elapsed", "1 min 3 s")  # it counts by itself
    shop.set(WAKING, phase=Phase.STOPPING)
    await tab.shows("headline", "Shutting down, then starting again")
    assert await tab.text("elapsed") == ""
    shop.is_there = True
    shop.set(READY)
    await tab.shows("service", "the shop")
    assert await tab.value("location.href") == url
    assert shop.woken == 1


async def test_a_failure_is_shown_and_the_button_tries_again(site: tuple[Site, str], tab: Tab) -> None:
    shop, url = site
    await tab.call("Page.navigate", url=url)
    await tab.shows("headline", "Starting db")
    shop.set(FAILED)
    await tab.shows("failure", "<b>exit code 1</b>")
    assert await tab.value("document.title") == "Shop could not be started"
    assert (await tab.text("retry")).startswith("in ")
    await tab.value("document.getElementById('action').click()")  # too early: nothing happens
    shop.set(FAILED, phase=Phase.ASLEEP, retry_in=None)
    await tab.shows("retry", "")
    assert shop.woken == 1
    await tab.value("document.getElementById('action').click()")
    shop.set(WAKING, step="starting again")
    await tab.shows("headline", "Starting again")
    assert shop.woken == 2
    assert await tab.value("location.href") == url


async def test_the_page_connects_again_after_the_daemon_was_restarted(site: tuple[Site, str], tab: Tab) -> None:
    shop, url = site
    await tab.call("Page.navigate", url=url)
    await tab.shows("headline", "Starting db")
    await until(lambda: shop.server._streams)
    await shop.restart()
    shop.set(WAKING, step="waiting for shop to answer")
    await tab.shows("headline", "Waiting for shop to answer")
    assert (shop.streams, shop.woken) == (2, 1)


@pytest.mark.parametrize("prepare", [lambda shop: setattr(shop, "refused", 1), lambda shop: shop.set(READY)])
async def test_the_page_reloads_itself_if_it_gets_no_events(
    site: tuple[Site, str], tab: Tab, prepare: Callable[[Site], None]
) -> None:
    shop, url = site
    prepare(shop)
    await tab.call("Page.navigate", url=url)
    await tab.shows("headline", "Starting db" if shop.refused else "One moment")
    shop.is_there = True
    await tab.shows("service", "the shop")


async def test_without_javascript_the_page_reloads_itself_and_a_failure_has_a_link(
    site: tuple[Site, str], tab: Tab
) -> None:
    shop, url = site
    await tab.call("Emulation.setScriptExecutionDisabled", value=True)
    await tab.call("Page.navigate", url=url)
    await tab.shows("headline", "Starting db")
    shop.set(FAILED)
    await tab.shows("failure", "<b>exit code 1</b>")
    assert shop.streams == 0
    shop.is_there = True
    await tab.call("DOM.enable")
    root = (await tab.call("DOM.getDocument"))["root"]["nodeId"]
    link = (await tab.call("DOM.querySelector", nodeId=root, selector="#action"))["nodeId"]
    left, top, right, _, _, bottom, *_ = (await tab.call("DOM.getBoxModel", nodeId=link))["model"]["content"]
    for kind in ("mousePressed", "mouseReleased"):
        at = {"x": (left + right) / 2, "y": (top + bottom) / 2}
        await tab.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)
    await tab.shows("service", "the shop")


async def test_without_javascript_the_page_shows_each_step_and_makes_way_for_the_service(
    site: tuple[Site, str], tab: Tab
) -> None:
    shop, url = site
    await tab.call("Emulation.setScriptExecutionDisabled", value=True)
    await tab.call("Page.navigate", url=url)
    await tab.shows("headline", "Starting db")
    shop.set(WAKING, step="waiting for shop to answer", done=("started db", "started shop"), waited=65)
    await tab.shows("headline", "Waiting for shop to answer")
    assert await tab.text("elapsed") == "1 min 5 s"
    assert await tab.text("done") == "Started db\nStarted shop"
    assert await tab.text("failure") == await tab.text("action") == ""
    shop.is_there = True
    await tab.shows("service", "the shop")
    assert await tab.value("location.href") == url.partition("#")[0]
    assert shop.streams == 0


async def test_the_page_fits_a_phone(site: tuple[Site, str], tab: Tab) -> None:
    shop, url = site
    shop.set(FAILED, name="n" * 80, failure="f" * 900, done=("s" * 100,) * 30)
    await tab.call("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=1, mobile=True)
    await tab.call("Page.navigate", url=url)
    await tab.shows("action", "Try again")
    assert await tab.value("document.documentElement.scrollWidth") == 320
