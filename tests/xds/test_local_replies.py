from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from pilotage.xds.local_replies import not_found_page, not_found_text, unavailable_page
from tests.support.gateway import route, target
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.xds.conftest import Envoy

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("page", [not_found_page, unavailable_page])
def test_pages_load_no_external_resources(page: Callable[..., str]) -> None:
    for debug in (False, True):
        assert not re.search(r"https?:|src=|@import|url\(", page(debug=debug))


@pytest.mark.parametrize("text", [not_found_page, not_found_text, unavailable_page])
def test_only_debug_pages_mention_commands(text: Callable[..., str]) -> None:
    assert "pilotage explain NAME" in text(debug=True)
    assert "pilotage" not in text(debug=False)


async def test_browsers_get_html_and_other_clients_plain_text(envoy: Envoy) -> None:
    async with envoy() as gw:
        page = await gw.ask("nothing", headers=BROWSER)
        assert (page.status, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
        assert page.body.startswith(b"<!doctype html>")
        text = await gw.ask("nothing")
        assert (text.status, text.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
        assert text.body == not_found_text(debug=False).encode()


async def test_a_browser_gets_a_page_if_a_service_does_not_respond(envoy: Envoy) -> None:
    async with envoy(debug=True) as gw:
        await gw.publish(route("app", free_port()))
        page = await gw.ask("app", headers=BROWSER)
        assert (page.status, page.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
        assert b"<small>503</small><h1>This service is not responding</h1>" in page.body
        assert b"URX" in page.body
        assert b"<!doctype" not in (await gw.ask("app")).body


async def test_a_browser_gets_the_same_page_where_a_service_has_no_endpoint(envoy: Envoy) -> None:
    async with envoy() as gw:
        await gw.publish(route("asleep", host="", endpoints=()))
        page = await gw.ask("asleep", headers=BROWSER)
        assert (page.status, b"This service is not responding" in page.body) == (503, True)
        assert b"no available endpoint" in (await gw.ask("asleep")).body


async def test_responses_of_a_service_are_unchanged(envoy: Envoy) -> None:
    async def down(_: web.Request) -> web.Response:
        return web.Response(status=503, text="mine")

    async with target() as it, envoy() as gw:
        it.handlers["/down"] = down
        await gw.publish(route("app", it.port))
        answer = await gw.ask("app", "/down", headers=BROWSER)
        assert (answer.status, answer.body) == (503, b"mine")
