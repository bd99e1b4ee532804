from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest
from aiohttp import web

from pilotage.dashboard.icons import Icons, icon_url
from pilotage.routes.route import Endpoint, Route
from pilotage.routes.schema import Homepage, RouteSettings
from tests.support.dashboard import dashboard
from tests.support.envoy import web_server
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><script>parent.ran = 1</script></svg>'


def route(icon: str, host: str = "10.1.2.3") -> Route:
    settings = RouteSettings(homepage=Homepage(icon=icon))
    return Route("shop", endpoints=(Endpoint(host, 80),), settings=settings)


def test_only_paths_on_the_container_itself_are_fetched() -> None:
    assert icon_url(route("/icon.svg?a=b")) == "http://10.1.2.3:80/icon.svg?a=b"
    assert icon_url(route("@target/icon.svg")) == "http://10.1.2.3:80/icon.svg"
    for icon in ("", "https://elsewhere.example/a.png", "@selfhst/a.svg", "//elsewhere.example/a.png", "/a b"):
        assert icon_url(route(icon)) == "", icon
    for host in ("127.0.0.1", "169.254.1.1", "elsewhere.example", "::1"):
        assert icon_url(route("/icon.svg", host)) == "", host
    for changes in ({"scheme": "tcp"}, {"agent": "10.0.0.1:8890"}, {"excluded": True}, {"endpoints": ()}):
        assert icon_url(msgspec.structs.replace(route("/icon.svg"), **changes)) == "", changes
    chosen = msgspec.structs.replace(route("/icon.svg"), labelled=("host",), container="web")
    assert icon_url(chosen) == ""
    assert icon_url(msgspec.structs.replace(chosen, container="")) == "http://10.1.2.3:80/icon.svg"  # from a file


@contextlib.asynccontextmanager
async def fetched(icon: web.Response, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Icons, Route]]:
    """Yield icons, and a route whose icon has been asked for once."""
    monkeypatch.setattr("pilotage.dashboard.icons.is_ordinary", lambda _: True)  # this server is on loopback
    asked = 0

    async def answer(_: web.BaseRequest) -> web.Response:
        nonlocal asked
        asked += 1
        return icon

    async with web_server(answer) as port:
        icons = Icons()
        target = msgspec.structs.replace(route("/icon.svg"), endpoints=(Endpoint("127.0.0.1", port),))
        assert icons.path(target) == ""
        await until(lambda: asked and not icons._tasks)
        yield icons, target
        await icons.close()
        assert asked == 1


async def test_an_icon_is_fetched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with fetched(web.Response(body=SVG, content_type="image/svg+xml"), monkeypatch) as (icons, target):
        assert icons.path(target).startswith("/icons/shop?v=")
        found = icons.find(target)
        assert found is not None
        assert (found.body, found.content_type) == (SVG, "image/svg+xml")


@pytest.mark.parametrize(
    "answer",
    [
        {"body": b"<script>", "content_type": "text/html"},
        {"body": b"a" * 100_001, "content_type": "image/png"},
        {"body": b"a", "content_type": "image/png", "status": 404},
        {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}},
        {"body": b"a", "content_type": "image/png", "headers": {"Content-Encoding": "gzip"}},
    ],
)
async def test_anything_else_than_a_small_image_is_dropped(
    answer: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fetched(web.Response(**answer), monkeypatch) as (icons, target):  # type: ignore[arg-type]
        assert icons.find(target) is None


async def test_the_start_page_shows_icons_from_its_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.dashboard.icons.is_ordinary", lambda _: True)

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=SVG, content_type="image/svg+xml")

    async with web_server(answer) as port, dashboard(containers=False) as site:
        labels = {"proxy.shop.port": str(port), "proxy.shop.homepage.icon": "/icon.svg"}
        site.engine.add("shop", networks=(), ports=(f"{port}:{port}",), labels=labels)
        await site.until_routes(1)
        assert 'src="/icons' not in (await site.get("/"))[1]  # it is being fetched
        await until(lambda: not site.pages._icons._tasks)
        assert 'src="/icons/shop?v=' in (await site.get("/"))[1]
        async with site.client.get(f"{site.url}/icons/shop") as found:
            assert "sandbox" in found.headers["Content-Security-Policy"]
            assert await found.read() == SVG
        assert (await site.get("/icons/other"))[0] == 404
