from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.support.gateway import route, target
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy

pytestmark = pytest.mark.slow

KEY = "a key with %REQ(:path)%"


@pytest.mark.proves("middlewares.crowdsec.route", "middlewares.crowdsec.api_key", "middlewares.crowdsec.endpoint")
async def test_crowdsec_decides_by_all_of_a_request(envoy: Envoy) -> None:
    bodies: list[bytes] = []

    async def decide(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        if request.headers["X-Crowdsec-Appsec-Api-Key"] != KEY:
            return web.Response(status=401)
        bad = "/.env" in request.headers["X-Crowdsec-Appsec-Uri"] or b"<script>" in bodies[-1]
        return web.json_response({"action": "ban" if bad else "allow"}, status=403 if bad else 200)

    options = {"route": "crowdsec", "api_key": KEY, "endpoint": "/check", "bypass": ["path /health"]}
    async with target() as shop, target("crowdsec") as crowdsec, envoy() as gw:
        crowdsec.handlers["/check"] = decide
        app = route("app", shop.port, middlewares={"crowdsec": options})
        await gw.publish(app, route("crowdsec", crowdsec.port))
        assert list(gw.ads.problems) == []
        forged = {"X-Crowdsec-Appsec-Ip": "192.0.2.1", "X-Crowdsec-Appsec-Http-Version": "99", "Content-Type": "a/b"}
        answer = await gw.ask("app", "/page?q=1", headers=forged)
        assert (answer.status, answer.by) == (200, "target")
        _, path, headers = crowdsec.seen[-1]
        asked = {name.removeprefix("x-crowdsec-appsec-"): value for name, value in headers.items() if "appsec" in name}
        assert path == "/check"
        assert asked.pop("user-agent").startswith("Python")
        assert asked == {"ip": "127.0.0.1", "uri": "/page?q=1", "host": "app", "verb": "GET", "api-key": KEY}
        assert headers["content-type"] == "a/b"
        assert not [name for name in answer.json["headers"] if "appsec" in name]
        for host in ("app", "APP"):
            assert (await gw.ask(host, "/.env")).status == 403
        assert (await gw.ask("app", method="POST", data=b"x=<script>")).status == 403
        large = b"a" * 300_000
        answer = await gw.ask("app", method="POST", data=large)
        assert (answer.status, answer.json["received"]) == (200, len(large))
        assert len(bodies[-1]) >= 60_000
        count = len(crowdsec.seen)
        assert (await gw.ask("app", "/health")).status == 200
        assert len(crowdsec.seen) == count
        upgrade = {"Connection": "upgrade", "Upgrade": "websocket"}
        assert (await gw.ask("app", headers=upgrade)).status == 200
        await crowdsec.stop()
        assert (await gw.ask("app")).status == 503
        await gw.publish(app)
        assert (await gw.ask("app")).status == 503
        found = [(problem.path, problem.message) for problem in gw.ads.problems]
        assert [(path, "not served" in message) for path, message in found] == [("middlewares.crowdsec", True)]


@pytest.mark.proves("middlewares.crowdsec.timeout")
async def test_crowdsec_may_take_as_long_as_the_route_says(envoy: Envoy) -> None:
    async with target() as shop, target("crowdsec") as crowdsec, envoy() as gw:
        may_answer = asyncio.Event()

        async def hang(_request: web.Request) -> web.Response:
            await may_answer.wait()
            return web.Response()

        crowdsec.handlers["/"] = hang
        options = {"route": "crowdsec", "api_key": KEY}
        routes = [
            route(name, shop.port, middlewares={"crowdsec": {**options, "timeout": timeout}})
            for name, timeout in (("patient", "60s"), ("hasty", "1s"))
        ]
        await gw.publish(*routes, route("crowdsec", crowdsec.port))
        patient = asyncio.create_task(gw.ask("patient"))
        await until(lambda: crowdsec.seen)
        assert (await gw.ask("hasty")).status == 503
        may_answer.set()
        assert (await patient).status == 200
