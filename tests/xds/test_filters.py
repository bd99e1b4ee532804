from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.composite.v3 import composite_pb2
from google.protobuf import wrappers_pb2

from pilotage.xds.backend import route_backend
from pilotage.xds.filters import TARGET, backend_settings, http_filters, on_demand, scope_settings
from pilotage.xds.host_lookups import LATE
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import packed
from tests.support.gateway import becomes, route, target

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy


def test_requests_without_a_known_route_pass_all_protective_filters() -> None:
    for https in (False, True):
        chain = http_filters(GatewayOptions(hsts_max_age=60, has_agents=True, session_keys="{}"), https=https)
        names = [it.name for it in chain]
        contained = contained_filters(chain)
        assert contained == [
            "pilotage.fold",
            "pilotage.wildcard",
            "pilotage.clients",
            "pilotage.access",
            "pilotage.rate",
            "pilotage.strip",
            "pilotage.login",
            "pilotage.auth",
            "pilotage.fold",
            "pilotage.waiting",
            "pilotage.on_demand",
            "pilotage.edits",
        ]
        off = [it.name for it in chain if it.disabled]
        helping = ["pilotage.session", "pilotage.signed_in", "pilotage.page", "pilotage.all_waiting"]
        assert set(off) - set(contained) == {  # these keep nobody out, or only help those with a known route
            *(*helping, "pilotage.again"),
            *("pilotage.gzip", "pilotage.body", "pilotage.agent"),
        }
        # A known route has them in this order, too.
        assert [name for name in off if name in contained] == [name for name in contained if name != "pilotage.fold"]
        assert names.index(LATE) < names.index(contained[1])
        assert names[-1] == "envoy.filters.http.router"


def contained_filters(chain: list[Any]) -> list[str]:
    """Return the names of the filters in the filter for requests without a known route."""
    (late,) = (it for it in chain if it.name == LATE)
    assert not late.disabled
    config = wrappers_pb2.BytesValue.FromString(late.typed_config.value)  # field 1 is the only one
    return [it.name for it in composite_pb2.FilterChainConfiguration.FromString(config.value).typed_config]


def test_error_pages_are_replaced_only_if_they_may_come_from_agents() -> None:
    without, with_agents = (
        [it.name for it in http_filters(GatewayOptions(has_agents=agents), https=False)] for agents in (False, True)
    )
    assert [name for name in with_agents if name not in without] == ["pilotage.agent"]


def test_a_plain_route_enables_no_filter() -> None:
    assert backend_settings(route_backend(route("app", 80)), GatewayOptions()) == {}


ODD = ("APP.example.com", "app:80", "app.example.com.", "aPP")


@pytest.mark.parametrize("service", [(), ("local", "shop", "web")])
@pytest.mark.parametrize("host", ODD)
async def test_hosts_in_unusual_spellings_need_no_control_plane(
    envoy: Envoy, host: str, service: tuple[str, ...]
) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, service=service), route("*.wild.org", it.port, service=service))
        await gw.ads.close()
        assert (await gw.ask(host)).status == 200
        assert (await gw.ask("any.WILD.org")).status == 200


def test_only_scopes_with_plain_routes_set_the_address_of_a_target() -> None:
    plain, own = (scope_settings(plain=it) for it in (True, False))
    assert set(own) - set(plain) == {TARGET}
    off = packed(route_components_pb2.FilterConfig(disabled=True))
    assert all(it == off for it in own.values())


@pytest.mark.parametrize(("alias", "service"), [("app", ()), ("app", ("local", "shop", "web")), ("*.wild.org", ())])
@pytest.mark.parametrize("middleware", ["forwardauth", "cidr_whitelist", "rate_limit"])
async def test_hosts_in_unusual_spellings_do_not_bypass_protection(
    envoy: Envoy, alias: str, service: tuple[str, ...], middleware: str
) -> None:
    cases: dict[str, dict[str, Any]] = {
        "forwardauth": {"route": "auth", "auth_endpoint": "/deny"},
        "cidr_whitelist": {"allow": ["10.0.0.0/8"]},
        "rate_limit": {"average": 1, "burst": 1, "period": "1h"},
    }
    options = cases[middleware]

    async def deny(_request: web.Request) -> web.Response:
        return web.Response(status=403)

    async with target() as it, target("auth") as auth, envoy() as gw:
        auth.handlers["/deny"] = deny
        protected = route(alias, it.port, middlewares={middleware: options}, service=service)
        await gw.publish(protected, route("auth", auth.port))
        hosts = ODD if alias == "app" else ("any.wild.org", "ANY.wild.org", "any.wild.org:80", "any.wild.org.")
        refused = 429 if middleware == "rate_limit" else 403
        found = [(await gw.ask(host)).status for host in (*hosts, *hosts)]
        assert set(found) - {200} == {refused}
        assert found.count(200) == (middleware == "rate_limit")


# ---- headers -------------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "middlewares.request.set_headers",
    "middlewares.request.add_headers",
    "middlewares.request.hide_headers",
    "middlewares.request.add_prefix",
)
async def test_request_headers_are_set_added_and_hidden(envoy: Envoy) -> None:
    edits = {
        "set_headers": {"X-Set": "100% %REQ(:path)%", "X-Empty": ""},
        "add_headers": {"X-Added": "more"},
        "hide_headers": ["X-Hidden"],
        "add_prefix": "/base",
    }
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, middlewares={"modify_request": edits}))
        given = {"X-Set": "client", "X-Added": "client", "X-Hidden": "client", "X-Kept": "client"}
        said = (await gw.ask("app", "/page?q=1", headers=given)).json
        headers = said["headers"]
        assert headers["x-set"] == "100% %REQ(:path)%"
        assert headers["x-empty"] == ""
        assert headers["x-kept"] == "client"
        assert "x-hidden" not in headers
        assert said["path"] == "/base/page?q=1"
        added = it.seen[-1][2]["x-added"]
        assert added in {"client,more", "more"}  # aiohttp shows the last of several


async def test_the_host_that_the_target_sees_can_be_set(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        put = {"set_headers": {"Host": "inner.example.org", "X-Other": "1"}}
        await gw.publish(route("app", it.port, middlewares={"request": put}))
        headers = (await gw.ask("app")).json["headers"]
        assert (headers["host"], headers["x-other"]) == ("inner.example.org", "1")


@pytest.mark.proves(
    "middlewares.response.set_headers", "middlewares.response.add_headers", "middlewares.response.hide_headers"
)
async def test_response_headers_are_set_added_and_hidden(envoy: Envoy) -> None:
    edits = {"set_headers": {"X-From": "hidden"}, "add_headers": {"X-More": "1"}, "hide_headers": "Server, Date"}
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, middlewares={"response": edits}))
        answer = await gw.ask("app")
        assert (answer.headers["X-From"], answer.headers["X-More"]) == ("hidden", "1")
        assert "Server" not in answer.headers


@pytest.mark.proves("middlewares.set_x_forwarded", "middlewares.hide_x_forwarded")
async def test_forwarded_headers_describe_the_client(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        spoofed = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Host": "evil", "X-Forwarded-Proto": "https"}
        spoofed |= {"Forwarded": "for=1.2.3.4", "X-Real-IP": "1.2.3.4"}
        await gw.publish(
            route("plain", it.port),
            route("set", it.port, middlewares={"set_x_forwarded": None}),
            route("hide", it.port, middlewares={"HideXForwarded": {}}),
        )
        plain = (await gw.ask("plain", headers=spoofed)).json["headers"]
        address = plain["x-forwarded-for"]
        assert ipaddress.ip_address(address) != ipaddress.ip_address("1.2.3.4")  # itself, for a loopback client
        assert plain["x-forwarded-proto"] == "http"
        assert not {"x-forwarded-host", "forwarded", "x-real-ip"} & plain.keys()
        exact = (await gw.ask("set.example.org", "/p?q", headers=spoofed)).json["headers"]
        assert {name: value for name, value in exact.items() if name.startswith("x-forwarded")} == {
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-host": "set.example.org",
            "x-forwarded-method": "GET",
            "x-forwarded-proto": "http",
            "x-forwarded-uri": "/p?q",
        }
        hidden = (await gw.ask("hide", headers=spoofed)).json["headers"]
        assert not [name for name in hidden if name.startswith("x-forwarded")]


async def test_clients_cannot_set_envoys_own_headers(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, max_conns_per_host=9))
        steering = {"x-envoy-retry-on": "5xx", "x-envoy-max-retries": "9", "x-envoy-upstream-rq-timeout-ms": "1"}
        headers = (await gw.ask("app", headers=steering)).json["headers"]
        assert [name for name in headers if name.startswith("x-envoy")] == []


# ---- who is let in -------------------------------------------------------------------------------------------------


async def test_a_whitelist_applies_to_every_spelling_of_the_host(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        for networks, status in (["10.0.0.0/8", "::1"], 403), (["127.0.0.1"], 200), ("127.0.0.0/8, 10.0.0.1", 200):
            asked = {"cidr_whitelist": {"allow": networks}}
            await gw.publish(route("app", it.port, middlewares=asked), route("*.wild.org", it.port, middlewares=asked))
            for host in ("app", "APP", "app:80", "app.x", "App.X:80", "a.wild.org", "A.WILD.org"):
                assert (host, (await gw.ask(host, headers={"X-Forwarded-For": "10.1.1.1"})).status) == (host, status)


@pytest.mark.parametrize("host", ["app", "APP", "app:80", "app.x"])
async def test_a_whitelist_and_a_check_of_the_path_hold_together(envoy: Envoy, host: str) -> None:
    climbing = "/a%2f..%2fadmin"
    async with target() as it, envoy() as gw:
        for allowed, found in ("127.0.0.1", [200, 400]), ("10.0.0.0/8", [403, 400]):
            middlewares = {"cidr_whitelist": {"allow": [allowed]}, "modify_request": {"add_prefix": "/base"}}
            await gw.publish(route("app", it.port, middlewares=middlewares))
            assert [(await gw.ask(host, path)).status for path in ("/a", climbing)] == found
        assert [path for _, path, _ in it.seen] == ["/base/a"]


async def test_an_empty_whitelist_denies_everybody(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, middlewares={"cidr_whitelist": {}}))
        assert (await gw.ask("app")).status == 404
        assert [problem.route for problem in gw.ads.problems] == ["app"]


async def test_addresses_come_from_trusted_proxies_only(envoy: Envoy) -> None:
    asked = {"cidr_whitelist": {"allow": ["192.0.2.0/24"]}}
    forwarded = {"X-Forwarded-For": "198.51.100.1, 192.0.2.7"}
    async with target() as it, envoy(trusted_proxies=("127.0.0.1/32",)) as gw:
        await gw.publish(route("app", it.port, middlewares=asked))
        answer = await gw.ask("app", headers={**forwarded, "X-Forwarded-Host": "public.example.org"})
        assert answer.status == 200
        assert answer.json["headers"]["x-forwarded-host"] == "public.example.org"
        assert (await gw.ask("app", headers={"X-Forwarded-For": "192.0.2.7, 198.51.100.1"})).status == 403
        assert (await gw.ask("app")).status == 403
    async with target() as it, envoy(trusted_proxies=("127.0.0.2/32",)) as gw:
        await gw.publish(route("app", it.port, middlewares=asked))
        assert (await gw.ask("app", headers=forwarded)).status == 403


async def test_clients_that_bypass_the_trusted_proxy_are_not_trusted(envoy: Envoy) -> None:
    claims = {
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "public.example.org",
        "X-Real-IP": "192.0.2.7",
        "X-Envoy-External-Address": "192.0.2.7",
    }
    networks = ("127.0.0.2", "10.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16")  # one twice, and one inside another
    async with target() as it, envoy(trusted_proxies=networks) as gw:
        await gw.publish(route("app", it.port), route("safe", it.port, middlewares={"redirect_http": {}}))
        assert gw.refused == []
        told = {}
        for address in ("127.0.0.1", "127.0.0.2"):
            connector = aiohttp.TCPConnector(local_addr=(address, 0))
            async with aiohttp.ClientSession(connector=connector) as client:
                async with client.get(gw.url, headers={"Host": "app", **claims}) as answer:
                    told[address] = (await answer.json())["headers"]
                async with client.get(gw.url, headers={"Host": "safe", **claims}, allow_redirects=False) as answer:
                    assert answer.status == (308 if address == "127.0.0.1" else 200)
        passed_by, through = told["127.0.0.1"], told["127.0.0.2"]
        assert passed_by["x-forwarded-proto"] == "http"
        assert not {"x-forwarded-host", "x-real-ip"} & passed_by.keys()
        assert "192.0.2.7" not in passed_by.values()
        assert (through["x-forwarded-proto"], through["x-real-ip"]) == ("https", "192.0.2.7")
        assert through["x-forwarded-for"].startswith("192.0.2.7,")
        assert "x-envoy-external-address" not in through


async def test_rate_limits_are_per_client_address(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        limit = {"rate_limit": {"average": 1, "burst": "3", "period": "1h"}}
        await gw.publish(route("app", it.port, middlewares=limit), route("free", it.port))
        for address in ("127.0.0.3", "127.0.0.4"):
            connector = aiohttp.TCPConnector(local_addr=(address, 0))
            async with aiohttp.ClientSession(connector=connector) as client:
                statuses = []
                for host in ("app", "APP", "app.x", "app", "app", "free"):
                    async with client.get(gw.url, headers={"Host": host}) as answer:
                        statuses.append(answer.status)
                assert statuses == [200, 200, 200, 429, 429, 200]


class Approver:
    """Approves those who know the word, and says who they are."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.asked.append({name.lower(): value for name, value in request.headers.items()})
        if "session=good" in request.headers.get("Cookie", ""):
            who = {"Remote-User": "ann", "Remote-Other": "no", "X-Team": "blue", "Set-Cookie": "seen=1"}
            return web.Response(headers=who)
        return web.Response(status=302, headers={"Location": "https://login.example.org/"}, text="log in")


@pytest.fixture
def approving() -> dict[str, Any]:
    headers = ["Remote-User", "Remote-Groups", "X-Team"]
    return {"forward_auth": {"route": "auth", "auth_endpoint": "/check", "headers": headers}}


@pytest.mark.proves(
    "middlewares.forwardauth.route", "middlewares.forwardauth.auth_endpoint", "middlewares.forwardauth.headers"
)
async def test_forward_auth_decides_about_access(envoy: Envoy, approving: dict[str, Any]) -> None:
    approver = Approver()
    async with target("auth") as auth, target("app") as it, envoy() as gw:
        auth.handlers["/check"] = approver
        await gw.publish(route("auth", auth.port), route("app", it.port, middlewares=approving))
        for host in ("app", "APP", "app.example.org"):
            answer = await gw.ask(host, "/page?q=1", method="POST", headers={"Remote-User": "root"}, data=b"body")
            assert (answer.status, answer.headers["Location"]) == (302, "https://login.example.org/")
        assert it.seen == []
        told = approver.asked[-1]
        assert told["x-forwarded-host"] == "app.example.org"
        assert told["x-forwarded-uri"] == "/page?q=1"
        assert told["x-forwarded-method"] == "POST"
        assert told["x-forwarded-proto"] == "http"
        mine = {"Cookie": "session=good", "Remote-User": "root", "Remote-Groups": "admins"}
        answer = await gw.ask("app", method="POST", headers=mine, data=b"body")
        assert (answer.status, answer.json["received"]) == (200, 4)
        assert answer.json["headers"]["remote-user"] == "ann"
        assert answer.json["headers"]["x-team"] == "blue"
        assert "remote-groups" not in answer.json["headers"]  # nobody may say so himself
        assert "remote-other" not in answer.json["headers"]
        assert answer.headers["Set-Cookie"] == "seen=1"


async def test_access_is_denied_while_the_auth_service_is_away(envoy: Envoy, approving: dict[str, Any]) -> None:
    async with target("auth") as auth, target("app") as it, envoy() as gw:
        auth.handlers["/check"] = Approver()
        app = route("app", it.port, middlewares=approving)
        await gw.publish(app)
        good = {"Cookie": "session=good"}
        assert (await gw.ask("app", headers=good)).status == 503
        await gw.publish(app, route("auth", auth.port))
        assert (await gw.ask("app", headers=good)).status == 200
        await gw.publish(app)

        async def status() -> int:
            return (await gw.ask("app", headers=good)).status

        await becomes(status, 503)
        assert [method for method, *_ in it.seen] == ["GET"]


# ---- redirection --------------------------------------------------------------------------------------


@pytest.mark.proves("middlewares.redirect_http")
async def test_a_route_can_redirect_plain_http(envoy: Envoy) -> None:
    async with target() as it, envoy(public_https_port=8443) as gw:
        await gw.publish(route("app", it.port, middlewares={"redirectHTTP": None}))
        answer = await gw.ask("app.example.org:8080", "/page?q=1")
        assert (answer.status, answer.headers["Location"]) == (308, "https://app.example.org:8443/page?q=1")
        assert it.seen == []


async def test_many_requests_can_wait_for_forward_auth(envoy: Envoy, approving: dict[str, Any]) -> None:
    async with target("auth") as auth, target("app") as it, envoy() as gw:
        auth.handlers["/check"] = Approver()
        await gw.publish(route("auth", auth.port), route("app", it.port, middlewares=approving))
        answers = await asyncio.gather(*(gw.ask("app", headers={"Cookie": "session=good"}) for _ in range(50)))
        assert {answer.status for answer in answers} == {200}


def test_envoy_does_not_give_up_on_a_cluster_by_itself() -> None:
    """By default it does so after 15 s, which is less than many containers need to wake."""
    source, _ = on_demand(10.0)
    assert source.HasField("initial_fetch_timeout")
    assert source.initial_fetch_timeout.ToMilliseconds() == 0
