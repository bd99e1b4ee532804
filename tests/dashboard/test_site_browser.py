"""The dashboard in a real browser: in several states, live, by keyboard, without script, with 10,000 routes."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pilotage.api.listen import Listen
from tests.support.browser import Tab, chromium, open_tab
from tests.support.dashboard import TOKEN, Site, dashboard
from tests.support.npm import npm_folder
from tests.support.required import required
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [pytest.mark.slow, pytest.mark.process]

PAGES: Final = (
    "/",
    "/routes",
    "/routes?state=failing",
    "/routes/shop",
    "/routes/plain",
    "/routes/wiki",
    "/routes/closed",
    "/routes/hostile",
    "/routes/db",
    "/routes/nothing",
    "/problems",
    "/events",
    "/engines",
    "/envoys",
    "/certificates",
    "/labels?q=idle",
    "/login?next=/routes",
)
PHONE: Final = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
WIDE: Final = {"width": 1600, "height": 900, "deviceScaleFactor": 1, "mobile": False}
AXE: Final = Path(__file__).parent.parent / "support" / "axe"


@pytest.fixture(scope="module")
def browser() -> Iterator[str]:
    with required(), chromium() as address:
        yield address


@pytest.fixture(scope="module")
def axe() -> str:
    with required():
        return (npm_folder(AXE) / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture
async def tab(browser: str) -> AsyncIterator[Tab]:
    async with open_tab(browser) as tab:
        yield tab


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with dashboard() as site:
        yield site


async def go(tab: Tab, url: str) -> None:
    """Open a page and wait until it is there, with its scripts."""
    await tab.call("Page.navigate", url=url)
    await holds(tab, f"location.href === {url!r}")


async def holds(tab: Tab, script: str) -> None:
    """Return as soon as an expression is true in the page, and the page has run its scripts."""
    async with asyncio.timeout(60):
        while not await tab.value(f"document.readyState === 'complete' && ({script})"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def press(tab: Tab, key: str) -> None:
    text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        await tab.call("Input.dispatchKeyEvent", type=kind, key=key, **(text if kind == "keyDown" else {}))


async def look(tab: Tab, *, screen: dict[str, Any], scheme: str = "light", script: bool = True) -> None:
    await tab.call("Emulation.setDeviceMetricsOverride", **screen)
    await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    await tab.call("Emulation.setScriptExecutionDisabled", value=not script)


async def test_no_page_breaks_a_rule_of_accessibility_or_overflows(site: Site, tab: Tab, axe: str) -> None:
    for screen, scheme in ((WIDE, "light"), (PHONE, "dark")):
        await look(tab, screen=screen, scheme=scheme)
        for path in PAGES:
            await go(tab, site.url + path)
            await tab.call("Runtime.evaluate", expression=axe)
            run = (
                "axe.run({resultTypes: ['violations']}).then(it => JSON.stringify(it.violations.map("
                "one => [one.id, one.nodes.map(node => node.html)])))"
            )
            answer = await tab.call("Runtime.evaluate", expression=run, awaitPromise=True, returnByValue=True)
            assert answer["result"].get("value") == "[]", (path, scheme, answer["result"])
            assert await tab.value("document.documentElement.scrollWidth <= innerWidth"), (path, screen)
            assert await tab.value("document.title") != "run"


async def test_rows_change_without_a_new_page(site: Site, tab: Tab) -> None:
    await go(tab, f"{site.url}/routes?q=shop")
    await tab.shows("live", "live")
    await tab.value("window.kept = document.getElementById('route-shop')")
    assert "+" not in await tab.text("route-shop")
    site.engine.add("shop-two", labels={"proxy.shop-two.port": "80"})
    await holds(tab, "document.getElementById('route-shop-two') !== null")
    assert await tab.value("window.kept === document.getElementById('route-shop')")  # this row was not replaced
    site.engine.remove("shop")
    await holds(tab, "document.getElementById('route-shop') === null")
    await go(tab, f"{site.url}/events")
    assert "removed" in await tab.text("changes")


async def test_a_lost_connection_is_announced_and_comes_back(tab: Tab) -> None:
    async with dashboard() as first:
        port = int(first.url.rpartition(":")[2])
        await go(tab, f"{first.url}/routes")
        await tab.shows("live", "live")
    await tab.shows("live", "reconnecting")
    async with dashboard(Listen(host="127.0.0.1", port=port), containers=False) as second:
        second.engine.add("fresh", labels={"proxy.fresh.port": "80"})
        await holds(tab, "document.getElementById('route-fresh') !== null")
        await tab.shows("live", "live")
        assert await tab.text("route-shop") == ""


async def test_everything_can_be_reached_by_keyboard(site: Site, tab: Tab) -> None:
    await go(tab, f"{site.url}/routes")
    focus = "document.activeElement.closest('tr, li, input')?.id"
    await press(tab, "j")
    assert await tab.value(focus) == "route-api"
    await press(tab, "j")
    await press(tab, "j")
    await press(tab, "k")
    assert await tab.value(focus) == "route-closed"
    await press(tab, "/")
    assert await tab.value(focus) == "search"
    for key in "wiki":
        await press(tab, key)
    await holds(tab, "document.querySelectorAll('#rows tr').length === 1 && location.search === '?q=wiki'")
    await press(tab, "ArrowDown")
    assert await tab.value(focus) == "route-wiki"
    await press(tab, "Enter")
    await holds(tab, "location.pathname === '/routes/wiki'")
    await go(tab, f"{site.url}/routes?q=wiki")
    await press(tab, "/")
    await press(tab, "Escape")
    await holds(tab, "document.querySelectorAll('#rows tr').length > 5 && location.search === ''")
    await press(tab, "Escape")
    assert await tab.value("document.activeElement === document.body")


async def test_signing_in_allows_to_wake_a_container(site: Site, tab: Tab) -> None:
    asked = site.source.sleeper.asked
    await go(tab, f"{site.url}/routes/wiki")
    assert "pilotage wake wiki" in await tab.text("actions")
    await go(tab, f"{site.url}/login?next=%2Froutes%2Fwiki")
    await tab.value(f"document.getElementById('token').value = {TOKEN!r}; document.querySelector('.login').submit()")
    await holds(tab, "location.pathname === '/routes/wiki' && document.querySelector('#actions form') !== null")
    assert TOKEN not in await tab.value("document.documentElement.outerHTML + location.href + document.cookie")
    await tab.value("document.querySelector('#actions button').click()")
    await until(lambda: asked == ["wake wiki"])
    await holds(tab, "document.querySelectorAll('#actions form').length === 2")
    await tab.value("document.querySelector('.session button').click()")
    await holds(tab, "location.pathname === '/' && document.querySelector('.session a') !== null")


async def test_pages_work_without_script(site: Site, tab: Tab) -> None:
    await look(tab, screen=WIDE, script=False)
    for path in PAGES:
        await go(tab, site.url + path)
        assert await tab.value("document.querySelector('h1').checkVisibility()"), path
        assert not await tab.value("document.documentElement.classList.contains('scripted')")
    await go(tab, f"{site.url}/routes?state=asleep")
    await tab.value("document.getElementById('search').value = 'wiki'")
    await tab.value("document.querySelector('.search button').click()")
    await holds(tab, "location.search === '?q=wiki&state=asleep'")
    await holds(tab, "document.querySelectorAll('#rows tr').length === 1")


async def test_ten_thousand_routes_come_in_small_pages(tab: Tab) -> None:
    async with dashboard(containers=False, ready=False) as site:
        for number in range(10_000):
            site.engine.add(f"app-{number:05}", labels={f"proxy.app-{number:05}.port": "80"})
        await site.source.discovery.ready()
        await until(lambda: len(site.source.discovery.table.routes) >= 10_000)
        for path in ("/", "/routes", "/events", "/problems"):
            _, html = await site.get(path)
            assert len(gzip.compress(html.encode())) <= 30_000, path
        await go(tab, f"{site.url}/routes")
        assert await tab.value("document.querySelectorAll('#rows tr').length") == 100
        await tab.value("document.querySelector('a[rel=next]').click()")
        await holds(tab, "document.getElementById('route-app-00100') !== null")
        await press(tab, "/")
        for key in "09999":
            await press(tab, key)
        await holds(tab, "document.querySelectorAll('#rows tr').length === 1")
