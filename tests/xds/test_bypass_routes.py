from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2

from pilotage.xds.backend import route_backend
from pilotage.xds.bypass_routes import has_route_headers, with_bypass
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import packed
from tests.support.gateway import becomes, route, target
from tests.xds.test_route_headers import ask

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy

ELSEWHERE = "10.0.0.0/8"
BYPASS = ["path glob(/public/*)", "header X-Key secret & method POST"]


async def test_a_route_without_a_bypass_has_no_more_routes() -> None:
    backend = route_backend(route("app", 80, middlewares={"redirect_http": None}))
    made: list[Any] = []
    assert with_bypass(backend, lambda _backend: made, GatewayOptions()) is made
    assert not has_route_headers(backend)


def test_requests_that_bypass_the_sign_in_are_not_checked() -> None:
    oidc = {"issuer_url": "https://id.example.org", "client_id": "a", "client_secret": "b", "bypass": ["path /free"]}
    backend = route_backend(route("app", 80, middlewares={"oidc": oidc}))
    made = with_bypass(backend, lambda _backend: [route_components_pb2.Route()], GatewayOptions())
    (free, usual) = made
    unchecked = packed(ext_authz_pb2.ExtAuthzPerRoute(disabled=True))
    assert free.typed_per_filter_config["pilotage.login"] == unchecked
    assert len(free.match.headers) == 1
    assert not usual.typed_per_filter_config


@pytest.mark.proves("middlewares.bypass", "middlewares.cidr_whitelist", "middlewares.rate_limit")
async def test_middlewares_apply_to_all_requests_but_those_that_bypass_them(envoy: Envoy) -> None:
    async def deny(_request: web.Request) -> web.Response:
        return web.Response(status=401)

    edits: dict[str, Any] = {
        "set_headers": {"X-Set": "1"},
        "hide_headers": "X-Own",
        "add_prefix": "/base",
        "bypass": ["path glob(/raw/*)"],
    }
    protected: dict[str, dict[str, Any]] = {
        "cidr": {"cidr_whitelist": {"allow": ELSEWHERE}},
        "auth": {"forwardauth": {"route": "login", "auth_endpoint": "/deny"}},
        "rate": {"rate_limit": {"average": 1, "burst": 1, "period": "1h"}},
        "redirect": {"redirect_http": {}},
    }
    refused = {"cidr": 403, "auth": 401, "rate": 429, "redirect": 308}
    async with target() as it, target("login") as login, envoy() as gw:
        login.handlers["/deny"] = deny
        for service in ((), ("local", "shop", "web")):  # plain routes, and routes with a cluster of their own
            routes = [
                route(f"{name}{kind}", it.port, service=service, middlewares={
                    middleware: {**options, "bypass": bypass} for middleware, options in chosen.items()
                })
                for name, chosen in protected.items()
                for kind, bypass in (("", BYPASS), ("-near", ["remote 127.0.0.0/8"]), ("-far", ["remote 10.0.0.0/8"]))
            ]  # fmt: skip
            wild = {"cidr_whitelist": {"allow": ELSEWHERE, "bypass": BYPASS}}
            await gw.publish(
                *routes,
                route("login", login.port),
                route("*.wild.org", it.port, service=service, middlewares=wild),
                route("edits", it.port, service=service, middlewares={"request": edits}),
                route("two", it.port, service=service, middlewares={
                    "cidr_whitelist": {"allow": ELSEWHERE, "bypass": ["path glob(/a*)"]},
                    "forwardauth": {"route": "login", "auth_endpoint": "/deny", "bypass": ["path glob(/ab*)"]},
                }),
            )  # fmt: skip

            async def status(host: str, path: str = "/", method: str = "GET", **headers: str) -> int:
                return (await gw.ask(host, path, method, headers=headers)).status

            async def known(host: str) -> bool:
                return await status(host) != 404

            for alias in gw.table.routes:  # Envoy's workers learn of routes after it has acknowledged them
                await becomes(functools.partial(known, alias.replace("*", "x")), True)
            assert gw.refused == []
            for name, code in refused.items():
                for host in (name, name.upper(), f"{name}.example.org:80"):
                    assert await status(host) == code, host
                    assert [await status(host, "/public/x") for _ in range(3)] == [200] * 3, host
                    assert await status(host, "/", "POST", **{"X-Key": "secret"}) == 200
                    assert await status(host, "/", "GET", **{"X-Key": "secret"}) == code
                    assert await status(host, "/", "POST", **{"X-Key": "other"}) == code
                    assert await status(host, "/publicity") == code
                    assert await status(host, "/?x=/public/x") == code
                    assert await status(host, "/public/../private") == code
                    answer = await gw.client.get(
                        f"{gw.url}/public/..%2fprivate", headers={"Host": host}, allow_redirects=False
                    )
                    assert answer.status in (400, 403), host
                for host in (f"{name}-near", f"{name}-NEAR"):
                    assert [await status(host) for _ in range(3)] == [200] * 3, host
                for host in (f"{name}-far", f"{name}-FAR"):
                    assert await status(host) == code, host
            for host in ("x.wild.org", "X.WILD.org"):
                assert (await status(host), await status(host, "/public/x")) == (403, 200)
            found = [await status("two", path) for path in ("/", "/a", "/ab", "/b")]
            assert found == [403, 401, 200, 403]
            answer, said = await ask(gw, "/page", "edits", **{"X-Own": "mine"})
            assert (said["path"], said["headers"]["x-set"], "x-own" in said["headers"]) == ("/base/page", "1", False)
            answer, said = await ask(gw, "/raw/page", "edits", **{"X-Own": "mine"})
            assert (said["path"], "x-set" in said["headers"], said["headers"]["x-own"]) == ("/raw/page", False, "mine")
        # Headers that only the auth service may set are taken from clients, even if they bypass it.
        forged = (await gw.ask("auth", "/public/x", headers={"Remote-User": "admin"})).json["headers"]
        assert "remote-user" not in forged
        assert "x-pilotage-address" not in (await gw.ask("cidr-near")).json["headers"]
        # If nothing can approve requests, those that do not bypass the approval are refused.
        await gw.publish(*[it for it in gw.table.routes.values() if it.alias == "auth"])
        assert (await gw.ask("auth")).status == 503
        assert (await gw.ask("auth", "/public/x")).status == 200


async def test_conditions_of_a_wildcard_are_about_the_host_of_the_client(envoy: Envoy) -> None:
    allow = {"allow": "10.0.0.0/8"}
    forged = {"X-Pilotage-Host": "other.wild.org"}
    async with target() as it, envoy() as gw:
        await gw.publish(
            route("*.wild.org", it.port, middlewares={"cidr_whitelist": {**allow, "bypass": "!host secret.wild.org"}}),
            route("*", it.port, middlewares={"cidr_whitelist": {**allow, "bypass": "host open.example.com"}}),
            route("*.rules.org", it.port, rules="host gone.rules.org {\n error 410 gone\n}\n"),
        )
        for host, status in (
            ("secret.wild.org", 403),
            ("SECRET.wild.org.:80", 403),
            ("~any~.wild.org", 400),  # as the gateway looks it up
            ("other.wild.org", 200),
            ("OPEN.example.com:80", 200),
            ("other.example.com", 403),
            ("gone.rules.org", 410),
            ("other.rules.org", 200),
        ):
            for headers in ({}, forged):
                assert (await gw.ask(host, headers=headers)).status == status, host
        assert not [name for _, _, headers in it.seen for name in headers if name.startswith("x-pilotage-h")]
        assert gw.refused == []


async def test_parameters_of_a_path_do_not_help_to_bypass_a_whitelist(envoy: Envoy) -> None:
    closed = {"cidr_whitelist": {"allow": ELSEWHERE, "bypass": "path glob(*.css)"}}
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, middlewares=closed))
        statuses = {
            path: (await gw.ask("app", path)).status for path in ("/a.css", "/a.css;v=1", "/admin;a.css", "/a;.css")
        }
        assert statuses == {"/a.css": 200, "/a.css;v=1": 200, "/admin;a.css": 403, "/a;.css": 403}
