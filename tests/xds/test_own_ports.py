"""HTTP routes with a listening port of their own, mostly with a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from pilotage.routes.hosts import ANY_LABEL
from pilotage.routes.port_syntax import PortPair
from pilotage.xds.options import CertificateFiles
from pilotage.xds.own_ports import ADDRESS_HOST, hosts_on_port, listening_address, port_of, port_scope
from tests.support.gateway import becomes, route, target
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    import trustme

    from pilotage.routes.route import Route
    from tests.support.gateway import Gateway
    from tests.xds.conftest import Envoy


def on_port(alias: str, listening: int, *ports: int, **fields: Any) -> Route:
    port = PortPair(listening, ports[0] if ports else 80)
    return route(alias, *ports, **{"port": port, "bind": "127.0.0.1", **fields})


async def by(gw: Gateway, host: str, port: int, **options: Any) -> str:
    """Return who answers a request for a host on a port; its status if nobody does, ``""`` if the port is closed."""
    try:
        headers = {"Connection": "close", **options.pop("headers", {})}
        answer = await gw.ask(host, url=f"http://127.0.0.1:{port}", headers=headers, **options)
    except aiohttp.ClientConnectionError:
        return ""
    return answer.by or str(answer.status)


def test_the_address_of_a_route_names_its_listener_and_scope() -> None:
    it = on_port("app", 8081, 80, bind="")
    assert (port_of(it), listening_address(it)) == ("tcp/8081", "tcp/0.0.0.0:8081")
    assert listening_address(on_port("app", 8081, 80, bind="::", scheme="udp")) == "udp/[::]:8081"
    assert "." in port_scope("tcp/[::]:8081")  # no host's first label


def test_the_first_route_on_a_port_gets_requests_that_name_only_an_address() -> None:
    shared = {"app": ["*"], "shop": ["shop", "shop.example.com"], "a.example.com": ["a.example.com"]}
    assert hosts_on_port(shared, "shop") == {
        "app": ["app", "app.*"],
        "shop": ["shop", "shop.example.com", ADDRESS_HOST, "localhost"],
        "a.example.com": ["a.example.com"],
    }
    assert hosts_on_port({"localhost": ["*"]}, "localhost") == {"localhost": ["localhost", "localhost.*", ADDRESS_HOST]}
    assert hosts_on_port({"app": ["*"], "*": ["*"]}, "app") == {
        "app": ["app", "app.*"],
        "*": [ANY_LABEL, f"{ANY_LABEL}.*"],
    }


async def test_a_route_with_a_port_of_its_own_answers_only_there(envoy: Envoy) -> None:
    async with envoy() as gw, target("app") as app, target("web") as other:
        port, shared = free_port(), gw.options.http_port
        await gw.publish(on_port("app", port, app.port), route("web", other.port))
        for host in ("app", "app.example.com", "APP.example.com:8081", "app.example.com.", "127.0.0.1", "localhost"):
            assert await by(gw, host, port) == "app", host
        assert await by(gw, f"[::1]:{port}", port) == "app"
        assert [await by(gw, host, port) for host in ("web", "other.example.com", "10.0.0.1.example.com")] == [
            "404"
        ] * 3
        assert [await by(gw, host, shared) for host in ("app", "app.example.com", "127.0.0.1")] == ["404"] * 3
        assert await by(gw, "web", shared) == "web"
        assert not [name for _, _, headers in app.seen for name in headers if name.startswith("x-pilotage")]
        assert app.seen[-1][2]["host"] == f"[::1]:{port}"


async def test_no_request_on_another_listener_selects_the_scope_of_a_port(envoy: Envoy) -> None:
    async with envoy() as gw, target("app") as app, target("web") as other:
        port, second = free_port(), free_port()
        await gw.publish(on_port("app", port, app.port), on_port("web", second, other.port))
        scope = port_scope(f"tcp/127.0.0.1:{port}")
        for reached in (gw.options.http_port, second):
            assert await by(gw, "app", reached, headers={"X-Pilotage-Port": scope}) == "404"
            assert await by(gw, scope.replace("/", "-"), reached) == "404"
        assert await by(gw, "app", port, headers={"X-Pilotage-Port": "else"}) == "app"


async def test_several_routes_share_a_port_by_host(envoy: Envoy) -> None:
    async with envoy(match_domains=("example.com",)) as gw, contextlib.AsyncExitStack() as stack:
        names = ("app", "shop", "shop.example.org", "*.example.net", "*")
        found = {name: await stack.enter_async_context(target(name)) for name in names}
        port = free_port()
        routes = [on_port(name, port, it.port, created=number) for number, (name, it) in enumerate(found.items(), 1)]
        await gw.publish(*routes[:3])
        assert await by(gw, "127.0.0.1", port) == "app"  # the oldest
        assert await by(gw, "10.1.2.3.nip.io", port) == "404"
        await gw.publish(*routes)
        asked = {
            "app.example.com": "app",
            "shop": "shop",
            "shop.example.com": "shop",
            "Shop.Example.Org": "shop.example.org",
            "a.example.net": "*.example.net",
            "a.b.example.net": "*",
            "else": "*",
            "127.0.0.1": "*",
            "[::1]": "*",
        }
        assert {host: await by(gw, host, port) for host in asked} == asked
        await gw.publish(*routes[1:3])  # the next one takes over
        await becomes(lambda: by(gw, "127.0.0.1", port), "shop")
        assert await by(gw, "app.example.com", port) == "404"


async def test_everything_that_a_route_asks_for_acts_on_its_own_port(envoy: Envoy) -> None:
    async with envoy(compression=True, trusted_proxies=("127.0.0.1/32",)) as gw, target("app") as app:
        port = free_port()
        await gw.publish(
            on_port("app", port, app.port, middlewares={"response": {"set_headers": {"X-Set": "yes"}}}),
            on_port("deny", port, app.port, middlewares={"cidr_whitelist": {"allow": ["192.0.2.0/24"]}}),
            on_port("few", port, app.port, middlewares={"rate_limit": {"average": 1, "burst": 1, "period": "1h"}}),
            on_port("ruled", port, app.port, rules="path /no { error 418 Tea }"),
            on_port("paths", port, app.port, path_patterns=("GET /open",)),
        )
        answer = await gw.ask("app", url=f"http://127.0.0.1:{port}")
        assert answer.headers["X-Set"] == "yes"
        assert await by(gw, "deny", port) == "403"
        inside = {"X-Forwarded-For": "192.0.2.7"}
        assert await by(gw, "deny", port, headers=inside) == "app"  # from a trusted proxy
        assert [await by(gw, "few", port) for _ in range(2)] == ["app", "429"]
        assert (await gw.ask("ruled", "/no", url=f"http://127.0.0.1:{port}")).status == 418
        assert (await gw.ask("paths", "/open", url=f"http://127.0.0.1:{port}")).by == "app"
        assert (await gw.ask("paths", "/shut", url=f"http://127.0.0.1:{port}")).status == 404
        assert await by(gw, "a,b", port) == "400"


async def test_forwardauth_guards_a_port_even_for_requests_by_address(envoy: Envoy) -> None:
    async with envoy() as gw, target("app") as app, target("auth") as auth:

        async def refuse(request: web.Request) -> web.Response:
            return web.Response(status=200 if request.headers.get("Cookie") == "in=yes" else 401)

        auth.handlers["/"] = refuse
        port = free_port()
        guarded = on_port("app", port, app.port, middlewares={"forward_auth": {"route": "auth", "auth_endpoint": "/"}})
        await gw.publish(guarded, route("auth", auth.port))
        for host in ("app", "APP.example.com", "127.0.0.1", "[::1]", "localhost"):
            assert await by(gw, host, port) == "401", host
            assert await by(gw, host, port, headers={"Cookie": "in=yes"}) == "app", host
        assert not [name for _, _, headers in auth.seen for name in headers if name.startswith("x-pilotage")]


async def test_a_port_speaks_https_if_the_gateway_does(envoy: Envoy, tmp_path: Path, authority: trustme.CA) -> None:
    issued = authority.issue_cert("app.example.com")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    files = CertificateFiles(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"), default=True)
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    options = {"https_address": "127.0.0.1", "https_port": free_port(), "certificates": (files,)}
    async with envoy(**options, redirect_to_https=True, hsts_max_age=60) as gw, target("app") as app:
        port = free_port()
        await gw.publish(on_port("app", port, app.port))
        url = f"https://127.0.0.1:{port}"
        answer = await gw.ask("app.example.com", url=url, ssl=context, server_hostname="app.example.com")
        assert (answer.by, answer.headers["Strict-Transport-Security"]) == ("app", "max-age=60")
        assert app.seen[-1][2]["x-forwarded-proto"] == "https"
        assert await by(gw, "app", port) == ""  # plain HTTP


@pytest.mark.proves("bind")
async def test_a_route_with_only_an_address_answers_at_this_address_alone(envoy: Envoy) -> None:
    async with envoy(http_address="0.0.0.0") as gw, target("app") as app:
        inside = {"cidr_whitelist": {"allow": ["127.0.0.0/8"]}}
        outside = {"cidr_whitelist": {"allow": ["192.0.2.0/24"], "status": 418}}
        await gw.publish(
            route("here", app.port, bind="127.0.0.1"),
            route("there", app.port, bind="127.0.0.2"),
            route("kept", app.port, bind="127.0.0.2", middlewares=inside),
            route("out", app.port, bind="127.0.0.1", middlewares=outside),
            route("all", app.port, bind="0.0.0.0"),
            route("no", app.port, bind="::1"),
        )
        assert [problem.path for problem in gw.ads.problems] == ["bind"]  # of the last one

        async def asked(name: str, address: str, **options: Any) -> str:
            answer = await gw.ask(name, url=f"http://{address}:{gw.options.http_port}", **options)
            return answer.by or f"{answer.status} {answer.body.decode().partition('.')[0]}"

        unknown = "404 No service has this name"
        answers = {name: [await asked(name, f"127.0.0.{n}") for n in (1, 2, 3)] for name in ("here", "there", "kept")}
        assert answers == {
            "here": ["app", unknown, unknown],
            "there": [unknown, "app", unknown],
            "kept": [unknown, "app", unknown],
        }
        assert (await asked("out", "127.0.0.1")).startswith("418")
        assert await asked("all", "127.0.0.7") == "app"
        assert await asked("no", "127.0.0.1") == unknown
        answer = await gw.ask("here", url=f"http://127.0.0.2:{gw.options.http_port}", headers={"Accept": "text/html"})
        assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


async def test_a_taken_port_is_reported_for_each_route_and_opened_once_it_is_free(envoy: Envoy) -> None:
    async with envoy() as gw, target("app") as app:
        port = free_port()
        taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
        routes = on_port("app", port, app.port), on_port("shop", port, app.port)
        await gw.publish(*routes)
        found = {problem.route: problem for problem in gw.ads.problems}
        assert sorted(found) == ["app", "shop"]
        assert found["app"].message.startswith(f"Envoy test cannot listen on tcp/127.0.0.1:{port}: ")
        assert found["app"].refused
        taken.close()
        await taken.wait_closed()
        await becomes(lambda: by(gw, "shop", port), "app")
        assert gw.ads.problems == ()


async def test_a_port_belongs_to_tcp_or_http_and_to_one_address(envoy: Envoy) -> None:
    async with envoy() as gw, target("app") as app:
        port = free_port()
        tcp = on_port("db", port, app.port, scheme="tcp", created=1)
        http = on_port("app", port, app.port, created=2)
        everywhere = on_port("wide", port, app.port, bind="0.0.0.0", created=3)
        await gw.publish(tcp, http, everywhere)
        assert {problem.route: problem.message for problem in gw.ads.problems} == {
            "app": f"tcp port 127.0.0.1:{port} belongs to db, which is older",
            "wide": f"tcp port 0.0.0.0:{port} belongs to db, which is older",
        }
        assert await by(gw, "anything", port) == "app"  # as it is tcp, any host
        await gw.publish(http, everywhere)
        await becomes(lambda: by(gw, "anything", port), "404")
        assert await by(gw, "app", port) == "app"


async def test_a_removed_route_closes_its_port_and_its_requests_finish(envoy: Envoy) -> None:
    async with envoy() as gw, target("app") as app:
        arrived, may_answer = asyncio.Event(), asyncio.Event()

        async def slow(_: web.Request) -> web.Response:
            arrived.set()
            await may_answer.wait()
            return web.Response(text="late")

        app.handlers["/slow"] = slow
        port = free_port()
        await gw.publish(on_port("app", port, app.port))
        await becomes(lambda: by(gw, "app", port), "app")
        request = asyncio.create_task(gw.ask("app", "/slow", url=f"http://127.0.0.1:{port}"))
        await arrived.wait()
        await gw.publish()

        async def is_open() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return False
            writer.close()
            return True

        await becomes(is_open, False)
        may_answer.set()
        assert (await request).body == b"late"


async def test_requests_on_a_port_wait_for_a_successor(envoy: Envoy) -> None:
    async with envoy() as gw, target("old") as old, target("new") as new:
        port = free_port()
        await gw.publish(on_port("app", port, old.port, hold=30.0))
        await becomes(lambda: by(gw, "app", port), "old")
        gone = on_port("app", port, hold=30.0, excluded=True, excluded_reason="Container not running")
        await gw.publish(gone)
        waiting = asyncio.create_task(by(gw, "app", port))
        await becomes(lambda: _is_asked(gw), True)
        await gw.publish(on_port("app", port, new.port, hold=30.0))
        assert await waiting == "new"


async def _is_asked(gw: Gateway) -> bool:
    """Return whether a request waits in Envoy."""
    connector = aiohttp.UnixConnector(str(gw.directory / "admin.sock"))
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get("http://envoy/stats?filter=downstream_rq_active") as answer:
            lines = (await answer.text()).splitlines()
    return any(line.startswith("http.http.") and not line.endswith(": 0") for line in lines)
