"""The dashboard as a route of a real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from pilotage.config.engines import EngineChoice
from pilotage.daemon.settings import Flags
from pilotage.testing import FakeEngine
from tests.support.envoy import web_server
from tests.support.serving import Served, add, configured, serving
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

HOST = "pilotage.example.org"
TOKEN = "a token of the API"
SECTION = "api: {token_file: token}\ndashboard: {host: [pilotage.example.org, localhost]}"


def configuration(folder: Path, engine: FakeEngine, more: str = SECTION) -> Flags:
    (folder / "token").write_text(TOKEN)
    (folder / "pilotage.yml").write_text(configured(engine, more=more))
    return Flags(choice=EngineChoice(config=str(folder / "pilotage.yml")))


async def ask(served: Served, path: str, *, host: str = HOST, **headers: str) -> tuple[int, str]:
    given = {"Host": host, "Accept": "text/html", **headers}
    async with served.session.get(f"http://127.0.0.1:{served.port}{path}", headers=given) as answer:
        return answer.status, await answer.text()


async def test_the_gateway_serves_the_dashboard_to_those_who_sign_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeEngine() as engine:
        engine.add("shop", labels={"proxy.shop.port": "80"})
        async with serving(configuration(tmp_path, engine), tmp_path) as served:
            await served.answers(HOST, 401)
            assert (await ask(served, "/routes"))[0] == 401
            assert (await ask(served, "/v1/routes"))[0] == 401
            assert (await ask(served, "/assets/dashboard.css"))[0] == 200
            url, headers = f"http://127.0.0.1:{served.port}", {"Host": HOST, "Origin": f"http://{HOST}"}
            form = {"token": TOKEN, "next": "/routes"}
            wrong, spoofed = {"token": "wrong"}, {"X-Forwarded-For": "198.51.100.9"}
            async with served.session.post(f"{url}/login", data=wrong, headers={**headers, **spoofed}) as answer:
                assert answer.status == 403
            assert "could not sign in" in caplog.text
            assert "198.51.100.9" not in caplog.text
            async with served.session.post(f"{url}/login", data=form, headers=headers, allow_redirects=False) as answer:
                assert answer.status == 303
                cookie = answer.headers["Set-Cookie"].partition(";")[0]
            for host in (HOST, "localhost"):
                status, html = await ask(served, "/routes", host=host, Cookie=cookie)
                assert status == 200
                assert 'id="route-shop"' in html
            secret = served.daemon.api.entry.secret
            for path in (f"/routes/{HOST}", f"/v1/explain/{HOST}", "/v1/routes", "/events"):
                status, text = await ask(served, path, Cookie=cookie)
                assert (status, secret in text) == (200, False), path
            elsewhere = {"Host": HOST, "Origin": "http://shop.example.org", "Cookie": cookie}
            async with served.session.post(f"{url}/reload", headers=elsewhere, allow_redirects=False) as answer:
                assert answer.status == 403
            async with served.session.post(
                f"{url}/reload", headers={**headers, "Cookie": cookie}, allow_redirects=False
            ) as answer:
                assert answer.status == 303
            await until(lambda: served.daemon.reloads["taken"] == 1)
            await served.answers(HOST, 401)  # the reload keeps the route
            await nobody_else_can_use_the_port(served)


async def nobody_else_can_use_the_port(served: Served) -> None:
    url = f"http://127.0.0.1:{served.daemon.api.entry.port}"
    guesses: tuple[dict[str, str], ...] = ({}, {"X-Pilotage-Entry": "guess"})
    for headers in guesses:
        async with served.session.get(f"{url}/healthz", headers=headers) as answer:
            assert answer.status == 403


async def test_a_middleware_that_signs_users_in_opens_the_dashboard_for_reading(tmp_path: Path) -> None:
    async def decide(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=401 if request.headers.get("X-Forwarded-Uri") == "/problems" else 200)

    async with FakeEngine() as engine, web_server(decide) as port:
        add(engine, "auth", port)
        more = f"dashboard: {{host: {HOST}, middlewares: {{forwardauth: {{route: auth}}}}}}"
        async with serving(configuration(tmp_path, engine, more), tmp_path) as served:
            await served.answers(HOST)
            assert (await ask(served, "/routes"))[0] == 200
            assert (await ask(served, "/problems"))[0] == 401
            headers, url = {"Host": HOST, "Origin": f"http://{HOST}"}, f"http://127.0.0.1:{served.port}/reload"
            async with served.session.post(url, headers=headers, allow_redirects=False) as answer:
                assert answer.status == 403  # only reading is open
            (tmp_path / "pilotage.yml").write_text(configured(engine))
            served.daemon.reload()
            await served.answers(HOST, 404)
            assert served.daemon.discovery.files() == ()
