from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.routes.route import Endpoint
from pilotage.xds import scoped_routes as scopes
from pilotage.xds.backend import route_backend
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import SCOPE
from pilotage.xds.retries import retries
from pilotage.xds.scoped_routes import domains, scope_label
from pilotage.xds.snapshot import build_resources
from tests.support.gateway import route, target

if TYPE_CHECKING:
    from pilotage.routes.route import EndpointState
    from tests.xds.conftest import Envoy


@pytest.mark.parametrize(
    ("alias", "label", "hosts"),
    [
        ("app", "app", ["*"]),
        ("app.example.org", "app", ["app.example.org"]),
        ("*.example.org", "__any__", ["__any__.example.org"]),
        ("a*b", "", ["*"]),
        ("*", "", ["*"]),
    ],
)
def test_an_alias_is_in_the_scope_of_its_first_label(alias: str, label: str, hosts: list[str]) -> None:
    assert scope_label(alias) == label
    if label:
        assert domains(alias, ()) == hosts


def test_suffixes_restrict_aliases_without_dots_only() -> None:
    suffixes = [".Example.org", "example.com.", "example.org"]
    assert domains("app", suffixes) == [
        "app",
        "app.example.org",
        "app.example.com",
    ]
    assert domains("app.other.net", ["example.org"]) == ["app.other.net"]


def test_equal_tables_give_equal_versions_whatever_the_order() -> None:
    from pilotage.table.table import Table

    routes = [route("app", 1), route("app.example.org", 2), route("web", 3)]
    one = build_resources(Table({it.alias: it for it in routes}), GatewayOptions())
    two = build_resources(Table({it.alias: it for it in reversed(routes)}), GatewayOptions())
    assert {name: item.version for name, item in one[SCOPE].items()} == {
        name: item.version for name, item in two[SCOPE].items()
    }
    assert sorted(one[SCOPE]) == ["app", "web"]


def test_plain_routes_equal_routes_built_in_full() -> None:
    for scheme in ("http", "https"):
        backend = route_backend(route("app", 80, scheme=scheme, no_tls_verify=True))
        assert backend.backing == "shared"
        assert scopes._plain_host(scheme, GatewayOptions()) == scopes._routes_with_policy(backend, GatewayOptions())


@pytest.mark.parametrize("suffixes", [(), (".example.com", ".example.org")])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("alias", ["app", "a" * 60])
def test_serialized_plain_scopes_equal_built_ones(
    monkeypatch: pytest.MonkeyPatch, alias: str, scheme: str, suffixes: tuple[str, ...]
) -> None:
    from envoy.config.route.v3.scoped_route_pb2 import ScopedRouteConfiguration as Message

    backend = route_backend(route(alias, 80, scheme=scheme, no_tls_verify=True))
    options = GatewayOptions(match_domains=suffixes)
    quick = scopes.scope(alias, [backend], options)
    monkeypatch.setattr(scopes, "_plain_scope", lambda *_: pytest.fail("it was to be made the long way"))
    monkeypatch.setattr(scopes, "_is_plain", lambda _: False)
    slow = scopes.scope(alias, [backend], options)
    assert Message.FromString(quick.body) == Message.FromString(slow.body)
    assert (quick.clusters, quick.answers, quick.name) == (slow.clusters, slow.answers, slow.name)


def test_a_request_is_retried_on_an_endpoint_that_arrived_meanwhile() -> None:
    """The cluster has the newcomer before the route could say so: it must not matter to the route."""
    service = ("local", "shop", "web")
    one, two = (route_backend(route("app", *ports, service=service)) for ports in ([80], [80, 81]))
    assert len(retries(one, GatewayOptions()).retry_host_predicate) == 1
    assert scopes._routes_with_policy(one, GatewayOptions()) == scopes._routes_with_policy(two, GatewayOptions())


async def test_hosts_find_their_routes(envoy: Envoy) -> None:
    async with target("plain") as plain, target("dotted") as dotted, target("wild") as wild, envoy() as gw:
        await gw.publish(
            route("app", plain.port), route("app.example.org", dotted.port), route("*.wild.org", wild.port)
        )
        for host, by in {
            "app": "plain",
            "app:8080": "plain",
            "app.anything": "plain",
            "app.a.b.c:99": "plain",
            "APP.Anything": "plain",
            "App": "plain",
            "app.anything.": "plain",
            "app.example.org": "dotted",
            "app.example.org:8080": "dotted",
            "App.Example.ORG": "dotted",
            "one.wild.org": "wild",
            "One.Wild.Org:8080": "wild",
            "one.two.wild.org": "",
            "wild.org": "",
            "app2": "",
            "127.0.0.1": "",
            "*.wild.org": "wild",
            "__any__.wild.org": "wild",
        }.items():
            answer = await gw.ask(host)
            assert (host, answer.by) == (host, by)
            assert answer.status == (200 if by else 404)
            if by:
                assert answer.json["headers"]["host"] == host


async def test_an_alias_with_dots_matches_no_other_host(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app.example.org", it.port))
        expected = {"app.example.org": 200, "app": 404, "app.example.com": 404}
        assert {host: (await gw.ask(host)).status for host in expected} == expected


async def test_only_hosts_below_the_configured_domains_are_served(envoy: Envoy) -> None:
    async with target() as it, envoy(match_domains=(".example.org", "lan")) as gw:
        await gw.publish(route("app", it.port))
        expected = {
            "app.example.org": 200,
            "APP.lan:80": 200,
            "app": 200,
            "app.evil.org": 404,
            "app.x.example.org": 404,
        }
        assert {host: (await gw.ask(host)).status for host in expected} == expected


async def test_an_alias_that_names_a_host_in_full_wins(envoy: Envoy) -> None:
    async with target("plain") as plain, target("full") as full, target("wild") as wild:
        async with envoy(match_domains=("example.org", "example.com")) as gw:
            await gw.publish(
                route("app", plain.port),
                route("app.example.org", full.port),
                route("*.wild.org", wild.port),
                route("__any__.wild.org", full.port),
            )
            assert gw.refused == []
            hosts = {"app": "plain", "app.example.com": "plain", "app.example.org": "full"}
            assert {host: (await gw.ask(host)).by for host in hosts} == hosts


async def test_an_unknown_host_gets_a_404_that_names_no_other_host(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("secretive", it.port))
        answer = await gw.ask("nothing.example.org")
        assert answer.status == 404
        assert b"No service with this name" in answer.body
        assert b"secretive" not in answer.body
        assert b"pilotage routes" not in answer.body


async def test_a_debug_gateway_adds_advice(envoy: Envoy) -> None:
    async with envoy(debug=True) as gw:
        assert b"pilotage routes" in (await gw.ask("nothing")).body


async def test_routes_are_added_moved_and_removed(envoy: Envoy) -> None:
    async with target("one") as one, target("two") as two, envoy() as gw:
        for _ in range(3):
            await gw.publish(route("app", one.port))
            assert (await gw.ask("app.x")).by == "one"
            await gw.publish(route("app", two.port))
            assert (await gw.ask("app.x")).by == "two"
            await gw.publish(route("app", one.port, two.port))
            assert {(await gw.ask("app.x")).by for _ in range(6)} == {"one", "two"}
            await gw.publish()
            assert (await gw.ask("app.x")).status == 404
    assert gw.refused == []


async def test_clients_cannot_choose_the_target_of_a_plain_route(envoy: Envoy) -> None:
    async with target("mine") as mine, target("other") as other, envoy() as gw:
        await gw.publish(route("app", mine.port), route("other", other.port))
        address = f"127.0.0.1:{other.port}"
        for name in ("x-envoy-original-dst-host", "X-Envoy-Original-Dst-Host"):
            assert (await gw.ask("app", headers={name: address})).by == "mine"
            assert (await gw.ask("APP", headers={name: address})).by == "mine"
            assert (await gw.ask("nothing", headers={name: address})).status == 404


async def test_a_label_cannot_choose_the_target_of_a_plain_route(envoy: Envoy) -> None:
    async with target("mine") as mine, target("other") as other, envoy() as gw:
        put = {"set_headers": {"x-envoy-original-dst-host": f"127.0.0.1:{other.port}"}}
        await gw.publish(route("app", mine.port, middlewares={"request": put}))
        assert (await gw.ask("app")).by == "mine"


async def test_a_route_without_endpoint_answers_503(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        waiting = Endpoint("127.0.0.1", it.port, state="waiting")
        await gw.publish(route("app", endpoints=(waiting,)))
        answer = await gw.ask("app")
        assert (answer.status, answer.by) == (503, "")
        assert b"no available endpoint" in answer.body


async def test_endpoints_that_are_not_ready_get_no_requests_while_others_are(envoy: Envoy) -> None:
    async with target("good") as good, target("bad") as bad, envoy() as gw:
        state: EndpointState
        for state in ("waiting", "unhealthy", "draining"):
            endpoints = (Endpoint("127.0.0.1", bad.port, state=state), Endpoint("127.0.0.1", good.port))
            await gw.publish(route("app", endpoints=endpoints))
            assert {(await gw.ask("app")).by for _ in range(6)} == {"good"}
        for state in ("unhealthy", "draining"):
            await gw.publish(route("app", endpoints=(Endpoint("127.0.0.1", bad.port, state=state),)))
            assert (await gw.ask("app")).by == "bad"
