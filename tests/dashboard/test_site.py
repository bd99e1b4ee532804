from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import aiohttp
import pytest

from pilotage.api.listen import Listen
from tests.support.dashboard import HOSTILE, TOKEN, Site, dashboard
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pilotage.table.traffic import RouteTraffic

PAGES = (
    "/ /routes /routes/hostile /routes/closed /problems /events /engines /envoys /certificates /labels /login".split()
)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with dashboard() as site:
        yield site


async def test_nothing_that_strangers_write_becomes_markup(site: Site) -> None:
    for path in PAGES:
        status, html = await site.get(path)
        assert status == 200, path
        assert "<script>" not in html
        assert "<img" not in html
        assert 'href="javascript:' not in html
        assert 'src="http' not in html
    status, html = await site.get(f"/routes?q={HOSTILE}&state={HOSTILE}&engine={HOSTILE}&{HOSTILE}={HOSTILE}")
    assert status == 200
    assert "<script>" not in html
    status, html = await site.get(f"/routes/{HOSTILE}")
    assert status == 404
    assert "<script>" not in html


async def test_pages_allow_nothing_from_elsewhere_and_no_inline_script(site: Site) -> None:
    async with site.client.get(f"{site.url}/routes", headers={"Accept": "text/html"}) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


async def test_static_files_are_kept_by_browsers(site: Site) -> None:
    async with site.client.get(f"{site.url}/assets/dashboard.js") as answer:
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert (await site.get("/assets/..%2Ftemplates%2Fbase.html"))[0] == 404


async def test_programs_still_get_json(site: Site) -> None:
    assert (await site.get("/", Accept="*/*"))[1].startswith('{"paths"')
    assert (await site.get("/nothing", Accept="*/*"))[1].startswith('{"error"')
    assert (await site.get("/v1/nothing"))[1].startswith('{"error"')
    assert (await site.get("/nothing"))[1].startswith("<!doctype html>")


async def test_without_signing_in_nothing_can_be_changed(site: Site) -> None:
    for path in ("/routes/wiki/wake", "/routes/wiki/sleep", "/reload"):
        assert (await site.post(path))[0] == 403
    assert (await site.sign_in("wrong")).status == 403
    assert (await site.post("/routes/wiki/wake"))[0] == 403
    assert site.source.sleeper.asked == []
    assert site.reloads == 0


async def test_who_has_signed_in_may_change_and_each_change_is_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answer = await site.sign_in(target="//elsewhere.example")
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert await site.post("/routes/wiki/sleep") == (303, "/routes/wiki")
    assert await site.post("/reload") == (303, "/engines")
    assert (site.source.sleeper.asked, site.reloads) == (["sleep wiki"], 1)
    assert "POST /routes/wiki/sleep by a browser from 127.0.0.1" in caplog.messages
    assert TOKEN not in caplog.text
    assert (await site.post("/routes/wiki/sleep"))[0] == 409  # the sleeper refuses, and the page says why
    assert (await site.post("/logout"))[0] == 303
    assert (await site.post("/reload"))[0] == 403


async def test_another_site_can_do_nothing_with_the_cookie(site: Site) -> None:
    await site.sign_in()
    for headers in (
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "", "Sec-Fetch-Site": "same-site"},
        {"Origin": ""},
    ):
        assert (await site.post("/routes/wiki/wake", **headers))[0] == 403, headers
    assert site.source.sleeper.asked == []
    assert (await site.post("/routes/wiki/wake", Origin="", **{"Sec-Fetch-Site": "same-origin"}))[0] == 303


async def test_tokens_cannot_be_tried_without_end(site: Site) -> None:
    answers = [(await site.sign_in("wrong")).status for _ in range(11)]
    assert answers == [403] * 10 + [429]
    assert (await site.sign_in()).status == 429


async def test_the_unix_socket_may_change_everything(tmp_path: Path) -> None:
    path = str(tmp_path / "api.sock")
    async with dashboard(Listen(host="127.0.0.1"), Listen(path=path), token="") as site:
        assert "/login" not in (await site.get("/routes"))[1]
        assert "There is no token" in (await site.get("/login"))[1]
        connector = aiohttp.UnixConnector(path)
        async with aiohttp.ClientSession("http://pilotage", connector=connector) as client:
            async with client.get("/routes/wiki", headers={"Accept": "text/html"}) as answer:
                assert 'action="/routes/wiki/wake"' in await answer.text()
            async with client.post("/routes/wiki/wake", allow_redirects=False) as answer:
                assert answer.status == 303
        assert site.source.sleeper.asked == ["wake wiki"]


async def test_other_machines_must_sign_in_to_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("pilotage.api.access.is_loopback", lambda _: False)
        status, html = await site.get("/routes")
        assert status == 401
        assert 'href="/login?next=/routes"' in html
        assert "shop" not in html
        assert (await site.get("/assets/dashboard.css"))[0] == 200
        assert (await site.sign_in()).status == 303
        assert (await site.get("/routes"))[0] == 200


async def test_request_counters_are_read_while_somebody_looks(site: Site) -> None:
    reads = 0
    before = site.source.traffic

    async def traffic() -> dict[str, RouteTraffic]:
        nonlocal reads
        reads += 1
        return await before()

    site.source.traffic = traffic  # type: ignore[method-assign]
    await site.get("/routes")
    await until(lambda: reads == 1)
    await site.get("/routes")
    assert reads == 1  # one task reads for all pages
