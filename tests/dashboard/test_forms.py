from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pilotage.dashboard.forms import read_form

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KIND = "application/x-www-form-urlencoded"


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async def handle(request: web.Request) -> web.Response:
        return web.json_response(await read_form(request))

    app = web.Application()
    app.router.add_post("/", handle)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


@pytest.mark.parametrize(
    ("body", "kind", "found"),
    [
        (b"token=a+%2B&next=/x", KIND, {"token": "a +", "next": "/x"}),
        (b"token=%ff\xff&empty=", f"{KIND}; charset=utf-7", {"token": "\ufffd\ufffd", "empty": ""}),
        (b"token=\\ud800", f"{KIND}; charset=unicode_escape", {"token": "\\ud800"}),
        (b"", KIND, {}),
        (b"xx", "multipart/form-data", 415),
        (b"token=a", "text/plain", 415),
        (b"a=" + b"b" * 20_000, KIND, 413),
        (b"a&" * 100, KIND, 400),
    ],
)
async def test_a_form_is_read_or_refused(
    server: TestServer, body: bytes, kind: str, found: dict[str, str] | int
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.make_url("/"), data=body, headers={"Content-Type": kind}) as answer,
    ):
        assert answer.status == found if isinstance(found, int) else await answer.json() == found
