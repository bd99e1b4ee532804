from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from envoy.extensions.filters.http.compressor.v3 import compressor_pb2

from pilotage.routes.schema import RouteSettings
from pilotage.xds.compression import compression_switch
from pilotage.xds.options import GatewayOptions
from tests.support.gateway import route, target

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy


@pytest.mark.parametrize(
    ("all_routes", "label", "disabled", "switch"),
    [
        (False, False, False, None),
        (False, True, False, "on"),
        (False, True, True, None),
        (False, False, True, None),
        (True, False, False, None),
        (True, True, False, None),
        (True, False, True, "off"),
        (True, True, True, "off"),
    ],
)
def test_only_routes_that_differ_from_the_setting_have_a_switch(
    all_routes: bool, label: bool, disabled: bool, switch: str | None
) -> None:
    settings = RouteSettings(compression=label, disable_compression=disabled)
    found = compression_switch(settings, GatewayOptions(compression=all_routes))
    message = compressor_pb2.CompressorPerRoute()
    assert (found is None) is (switch is None)
    if found is not None:
        assert found.Unpack(message)
        assert message.disabled is (switch == "off")


@pytest.mark.proves("disable_compression")
async def test_with_the_setting_text_is_compressed_unless_a_label_says_otherwise(envoy: Envoy) -> None:
    async with target() as it, envoy(compression=True) as gw:
        text = "pilotage " * 1000

        async def page(request: web.Request) -> web.Response:
            return web.Response(text=text, content_type=request.query["type"])

        it.handlers["/page"] = page
        await gw.publish(route("app", it.port), route("raw", it.port, disable_compression=True))
        accepting = {"Accept-Encoding": "gzip"}
        for host, kind, headers, encoded in [
            ("app", "text/html", accepting, True),
            ("app", "application/json", accepting, True),
            ("app", "image/png", accepting, False),
            ("app", "text/html", {"Accept-Encoding": "identity"}, False),
            ("raw", "text/html", accepting, False),
            ("RAW", "text/html", accepting, False),
        ]:
            answer = await gw.ask(host, f"/page?type={kind}", headers=headers)
            assert (host, kind, answer.headers.get("Content-Encoding")) == (host, kind, "gzip" if encoded else None)
            assert (gzip.decompress(answer.body) if encoded else answer.body) == text.encode()


@pytest.mark.proves("compression")
async def test_by_default_text_is_compressed_only_where_a_label_asks_for_it(envoy: Envoy) -> None:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="pilotage " * 1000)

    async with target() as it, envoy() as gw:
        it.handlers["/page"] = page
        both = route("both", it.port, compression=True, disable_compression=True)
        await gw.publish(route("app", it.port, compression=True), route("web", it.port), both)
        for host, encoding in [("app", "gzip"), ("web", None), ("both", None)]:
            answer = await gw.ask(host, "/page", headers={"Accept-Encoding": "gzip"})
            assert (host, answer.headers.get("Content-Encoding")) == (host, encoding)


async def test_parts_and_responses_that_must_stay_as_they_are_are_not_compressed(envoy: Envoy) -> None:
    text = "x" * 10_000

    async def part(_request: web.Request) -> web.Response:
        return web.Response(status=206, text=text[100:5100], headers={"Content-Range": "bytes 100-5099/10000"})

    async def tagged(_request: web.Request) -> web.Response:
        return web.Response(text=text, headers={"ETag": '"abc"'})

    async def fixed(_request: web.Request) -> web.Response:
        return web.Response(text=text, headers={"Cache-Control": "public, no-transform"})

    async def plain(_request: web.Request) -> web.Response:
        return web.Response(text=text)

    async with target() as it, envoy() as gw:
        it.handlers |= {"/part": part, "/tagged": tagged, "/fixed": fixed, "/plain": plain}
        await gw.publish(route("app", it.port, compression=True))
        accept = {"Accept-Encoding": "gzip"}
        found = await gw.ask("app", "/part", headers=accept | {"Range": "bytes=100-5099"})
        assert (found.status, found.headers.get("Content-Encoding"), len(found.body)) == (206, None, 5_000)
        assert found.headers["Content-Length"] == "5000"
        found = await gw.ask("app", "/tagged", headers=accept)
        assert (found.headers["ETag"], found.headers.get("Content-Encoding")) == ('"abc"', None)
        assert "Content-Encoding" not in (await gw.ask("app", "/fixed", headers=accept)).headers
        assert (await gw.ask("app", "/plain", headers=accept)).headers["Content-Encoding"] == "gzip"
