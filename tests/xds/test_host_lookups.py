from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from tests.support.gateway import route, target

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy


async def test_rules_see_what_an_auth_service_says_however_the_host_is_spelled(envoy: Envoy) -> None:
    async def identify(_request: web.Request) -> web.Response:
        return web.Response(headers={"Remote-User": "me"})

    ask = {"forwardauth": {"route": "login", "auth_endpoint": "/identify", "headers": ["Remote-User"]}}
    rules = 'header Remote-User me & !host *.other { error 418 "" }'
    async with target() as it, target("login") as login, envoy() as gw:
        login.handlers["/identify"] = identify
        names = ("app", "*.wild.example")
        await gw.publish(
            route("login", login.port),
            route("plain", it.port),
            *(route(name, it.port, middlewares=ask, rules=rules) for name in names),
        )
        hosts = ("app", "APP:80", "app.example.", "x.wild.example", "X.Wild.example:80")
        assert {host: (await gw.ask(host)).status for host in hosts} == dict.fromkeys(hosts, 418)
        assert (await gw.ask("PLAIN:80", headers={"Remote-User": "me"})).json["headers"]["host"] == "PLAIN:80"
