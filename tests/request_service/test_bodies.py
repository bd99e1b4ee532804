from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest

from pilotage.request_service.bodies import BodyService
from pilotage.routes.route import Endpoint
from pilotage.xds.html_changes import HtmlChange, Selector
from tests.support.gateway import Gateway, gateway, route, target
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.slow  # it starts Envoy

PAGE = "<html><head><title>x</title></head><body><div id=main class='a b'>old</div><p>é</p></body></html>"


def page(text: str = PAGE, **headers: str) -> Any:
    async def answer(_request: web.Request) -> web.Response:
        given = {"Content-Type": "text/html; charset=utf-8", **{k.replace("_", "-"): v for k, v in headers.items()}}
        return web.Response(body=text.encode(), headers=given)

    return answer


async def part(_request: web.Request) -> web.Response:
    return web.Response(status=206, body=b"<body></body>", headers={"Content-Type": "text/html"})


async def encoded(_request: web.Request) -> web.Response:
    headers = {"Content-Type": "text/html", "Content-Encoding": "gzip"}
    return web.Response(body=gzip.compress(PAGE.encode()), headers=headers)


async def slow(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "text/html"})
    await answer.prepare(request)
    for text in ("<html><body>", "one ", "two", "</body></html>"):
        await answer.write(text.encode())
        await asyncio.sleep(0)
    return answer


async def events(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    await answer.write(b"data: 1\n\n")
    await until(lambda: request.transport is None or request.transport.is_closing())
    return answer


def changed_by(gw: Gateway, *, largest: int = 512 * 1024, most: int = 40) -> BodyService:
    def find(key: str) -> Any:
        backend = gw.ads.snapshot.backend(key)
        if backend is None:
            return (), ""
        return backend.route_policy.changes, gw.options.error_pages if backend.route_policy.error_page else ""

    service = BodyService(find, largest=largest, most=most)
    gw.ads.on_body = service.process
    return service


MIDDLEWARES = {
    "modify_html": {"target": "#main", "html": "<b>ü</b>", "replace": True},
    "themed": {"css": "/theme.css"},
}
CHANGED = (
    '<html><head><title>x</title></head><body><b>ü</b><p>é</p><link rel="stylesheet" href="/theme.css"></body></html>'
)


@pytest.mark.proves("middlewares.modify_html.target", "middlewares.modify_html.html", "middlewares.modify_html.replace")
async def test_only_complete_pages_are_changed(tmp_path: Path) -> None:
    async with target() as it, gateway(tmp_path) as gw:
        service = changed_by(gw, largest=10_000)
        it.handlers |= {
            "/page": page(ETag='"1"'),
            "/latin": page("<body>x</body>", Content_Type="text/html; charset=iso-8859-1"),
            "/odd": page("<body>x</body>", Content_Type="text/html; charset=utf-16"),
            "/fixed": page("<body>x</body>", Cache_Control="no-transform"),
            "/text": page("<body>x</body>", Content_Type="text/plain"),
            "/large": page("<body>" + "x" * 20_000 + "</body>"),
            "/part": part,
            "/encoded": encoded,
            "/slow": slow,
            "/events": events,
        }
        await gw.publish(route("app", it.port, middlewares=MIDDLEWARES), route("plain", it.port))
        answer = await gw.ask("app", "/page", headers={"Accept-Encoding": "gzip"})
        assert (answer.status, answer.body.decode(), answer.headers["ETag"]) == (200, CHANGED, 'W/"1"')
        assert "accept-encoding" not in it.seen[-1][2]
        assert (await gw.ask("plain", "/page", headers={"Accept-Encoding": "gzip"})).body == PAGE.encode()
        assert it.seen[-1][2]["accept-encoding"] == "gzip"

        head = await gw.ask("app", "/page", "HEAD")
        assert (head.status, head.body, head.headers["ETag"]) == (200, b"", '"1"')
        link = b'<link rel="stylesheet" href="/theme.css">'
        assert (await gw.ask("app", "/latin")).body == b"<body>x" + link + b"</body>"
        assert (await gw.ask("app", "/slow")).body == b"<html><body>one two" + link + b"</body></html>"
        for path in ("/odd", "/fixed", "/text", "/large", "/part", "/encoded"):
            whole, same = await gw.ask("plain", path), await gw.ask("app", path)
            assert (same.status, same.body) == (whole.status, whole.body), path
            assert same.headers["Content-Length"] == whole.headers["Content-Length"] if path != "/large" else True
        async with gw.client.get(f"{gw.url}/events", headers={"Host": "app"}) as stream:
            assert await stream.content.readline() == b"data: 1\n"  # before the response ends
        assert (await gw.ask("APP", "/page")).status == 200  # a host in an unusual spelling

        service._most = 0
        assert (await gw.ask("app", "/page")).body == PAGE.encode()
        service._most = 1
        assert [(await gw.ask("app", "/page")).body.decode() for _ in range(3)] == [CHANGED] * 3  # each gives it back
        await gw.ads.close()
        assert (await gw.ask("app", "/page")).body == PAGE.encode()
        service.close()


@pytest.mark.proves("middlewares.error_page")
async def test_error_pages_replace_texts_for_people(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "404.html").write_text("<body>not hére</body>")
    (folder / "502.html").write_text("<body>down</body>")

    def failing(status: int, kind: str, **headers: str) -> Any:
        async def answer(_request: web.Request) -> web.Response:
            given = {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
            return web.Response(status=status, body=b"x" * 1_000, headers=given)

        return answer

    async with target() as it, gateway(tmp_path, error_pages=str(folder)) as gw:
        service = changed_by(gw)
        it.handlers |= {
            "/404": failing(404, "text/html", ETag='"1"'),
            "/500": failing(500, "text/plain"),
            "/401": failing(401, "text/plain", WWW_Authenticate="Basic"),
            "/json": failing(404, "application/json"),
            "/200": failing(200, "text/html"),
        }
        pages = {"custom_error_pages": {"bypass": ["path /raw"]}}
        it.handlers["/raw"] = failing(404, "text/html")
        both: dict[str, Any] = {"error_page": None, "themed": {"css": "/x.css"}}
        await gw.publish(
            route("app", it.port, middlewares=pages),
            route("down", 9, middlewares=pages, endpoints=(Endpoint("127.0.0.1", 9),)),
            route("both", it.port, middlewares=both),
        )
        found = "<body>not hére</body>".encode()
        for path, status in (("/404", 404), ("/500", 500), ("/401", 401)):
            answer = await gw.ask("app", path)
            assert (answer.status, answer.body) == (status, found), path
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert "ETag" not in answer.headers
        assert (await gw.ask("app", "/401")).headers["WWW-Authenticate"] == "Basic"
        for path in ("/json", "/200", "/raw"):
            assert (await gw.ask("app", path)).body == b"x" * 1_000, path
        head = await gw.ask("app", "/404", "HEAD")
        assert (head.status, head.body) == (404, b"")
        down = await gw.ask("down")
        assert (down.status >= 500, down.body) == (True, found if down.status != 502 else b"<body>down</body>")
        assert (await gw.ask("both", "/404")).body == found.replace(
            b"</body>", b'<link rel="stylesheet" href="/x.css"></body>'
        )
        service.close()


@pytest.mark.proves("middlewares.error_page")
async def test_error_pages_may_use_files_in_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    (folder / "sub").mkdir(parents=True)
    image = bytes(range(256)) * 2_000
    (folder / "404.html").write_text("<body>lost</body>")
    (folder / "style.css").write_text("body{color:red}")
    (folder / "logo é.png").write_bytes(image)
    (folder / ".secret").write_text("canary")
    (folder / "sub" / "a.css").write_text("canary")
    (folder / "large.bin").write_bytes(b"x" * 1_100_000)
    (tmp_path / "outside").write_text("canary")
    closed = {"error_page": None, "cidr_whitelist": {"allow": "203.0.113.0/24"}, "forwardauth": {"route": "none"}}
    async with target() as it, gateway(tmp_path, error_pages=str(folder)) as gw:
        service = changed_by(gw)
        await gw.publish(
            route("app", it.port, middlewares={"error_page": None}),
            route("closed", it.port, middlewares=closed),
            route("plain", it.port),
        )
        for alias in ("app", "closed"):
            style = await gw.ask(alias, "/$gperrorpage/style.css?v=1")
            assert (style.status, style.body) == (200, b"body{color:red}")
            assert style.headers["Content-Type"] == "text/css; charset=utf-8"
        logo = await gw.ask("app", "/$gperrorpage/logo%20%C3%A9.png")
        assert (logo.status, logo.headers["Content-Type"], logo.body) == (200, "image/png", image)
        head = await gw.ask("app", "/$gperrorpage/style.css", "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert (await gw.ask("app", "/$gperrorpage/style.css", "POST")).status == 405
        for name in ("none.css", ".secret", "sub/a.css", "sub", "large.bin", "", "%2e%2e%2foutside", "..%2foutside"):
            assert (await gw.ask("app", f"/$gperrorpage/{name}")).status in (400, 404), name
        assert it.seen == []
        assert (await gw.ask("plain", "/$gperrorpage/style.css")).by == "target"
        service.close()
        await gw.ads.close()
        assert (await gw.ask("app", "/$gperrorpage/style.css")).status == 404


async def test_slow_pages_of_one_backend_leave_places_for_others() -> None:
    service = BodyService(lambda _: ((HtmlChange(Selector("body"), "X"),), ""), most=4)
    forever = asyncio.Event()

    async def slow_page() -> AsyncIterator[Any]:
        headers = [{"key": ":status", "value": "200"}, {"key": "content-type", "value": "text/html"}]
        yield ProcessingRequest(response_headers={"headers": {"headers": headers}})
        await forever.wait()

    streams = []
    changed = []
    for backend in ("route/a", "route/a", "route/a", "route/b", "route/b", "route/c", "route/c"):
        stream = service.process(slow_page(), backend)
        answer = await anext(stream)
        if answer.HasField("mode_override"):
            changed.append(backend)
            streams.append(stream)
    assert changed == ["route/a", "route/a", "route/b", "route/c"]
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]
    stream = service.process(slow_page(), "route/a")
    assert (await anext(stream)).HasField("mode_override")
    await stream.aclose()  # type: ignore[attr-defined]
    service.close()
