from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from envoy.config.route.v3.scoped_route_pb2 import ScopedRouteConfiguration

from pilotage.routes.route import Endpoint
from pilotage.routes.schema import LoadBalance
from pilotage.xds import scoped_routes as scopes
from pilotage.xds.backend import route_backend
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import SCOPE
from pilotage.xds.retries import retries
from pilotage.xds.scoped_routes import domains, scope_label
from tests.support.gateway import route, target
from tests.support.resources import build_resources

if TYPE_CHECKING:
    from envoy.config.route.v3.route_components_pb2 import VirtualHost

    from pilotage.routes.route import EndpointState
    from pilotage.xds.backend import Backend
    from tests.xds.conftest import Envoy


@pytest.mark.parametrize(
    ("alias", "label", "hosts"),
    [
        ("app", "app", ["*"]),
        ("app.example.org", "app", ["app.example.org"]),
        ("*.example.org", "~any~", ["~any~.example.org"]),
        ("a*b", "", ["*"]),
        ("*", "~any~", ["*"]),
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
                route("~any~.wild.org", full.port),
            )
            assert gw.refused == []
            hosts = {"app": "plain", "app.example.com": "plain", "app.example.org": "full"}
            assert {host: (await gw.ask(host)).by for host in hosts} == hosts


async def test_an_unknown_host_gets_a_404_that_names_no_other_host(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("secretive", it.port))
        answer = await gw.ask("nothing.example.org")
        assert answer.status == 404
        assert b"No service has this name" in answer.body
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


@pytest.mark.parametrize(("listening", "host"), [("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1")])
async def test_a_plain_route_leads_to_an_address_of_ipv6(envoy: Envoy, listening: str, host: str) -> None:
    server = await asyncio.start_server(_greet, listening, 0)
    port = server.sockets[0].getsockname()[1]
    async with server, envoy() as gw:
        await gw.publish(route("app", endpoints=(Endpoint(host, port, "app", "id"),)))
        answer = await gw.ask("app")
        assert (answer.status, answer.body) == (200, b"hello")


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    writer.close()


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
        assert b"This service is starting." in answer.body


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


# ---- what is in a scope


def virtual_hosts(*backends: Backend, **options: Any) -> dict[str, VirtualHost]:
    """Return the virtual hosts of the scope ``app`` by name."""
    made = scopes.scope("app", backends, GatewayOptions(**options))
    message = ScopedRouteConfiguration.FromString(made.body)
    assert [fragment.string_key for fragment in message.key.fragments] == ["app"]
    assert message.name == message.route_configuration.name == "app"
    return {host.name: host for host in message.route_configuration.virtual_hosts}


@pytest.mark.parametrize("policy", [{}, {"disable_compression": True}])
def test_a_scope_has_a_virtual_host_for_each_of_its_backends(policy: dict[str, Any]) -> None:
    plain, dotted = (route_backend(route(alias, 80, **policy)) for alias in ("app", "app.example.org"))
    hosts = virtual_hosts(plain, dotted, match_domains=("example.org", "lan"))
    assert {name: list(host.domains) for name, host in hosts.items()} == {
        "app": ["app", "app.lan"],
        "app.example.org": ["app.example.org"],
    }
    assert list(virtual_hosts(dotted)) == ["app.example.org"]
    assert scopes.scope("app", [dotted, plain], GatewayOptions()).answers == ("app", "app.example.org")


def test_middlewares_set_add_and_remove_headers() -> None:
    edits = {"set_headers": {"Put": "50%"}, "add_headers": {"Add": "1"}, "hide_headers": "Hide"}
    (host,) = virtual_hosts(
        route_backend(route("app", 80, 81, middlewares={"request": edits, "response": edits, "set_x_forwarded": None}))
    ).values()
    sent = host.routes[0]  # evaluated before the virtual host, which removes headers
    for headers in (list(sent.request_headers_to_add)[:2], sent.response_headers_to_add):
        put, add = headers
        assert (put.header.key, put.header.value, add.header.key, add.header.value) == ("Put", "50%%", "Add", "1")
        assert put.append_action == put.OVERWRITE_IF_EXISTS_OR_ADD
        assert add.append_action == add.APPEND_IF_EXISTS_OR_ADD
    assert list(host.request_headers_to_remove) == list(host.response_headers_to_remove) == ["Hide"]
    assert {it.header.key: it.header.value for it in list(sent.request_headers_to_add)[2:]} == {
        "x-forwarded-for": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "x-forwarded-method": "%REQ(:METHOD)%",
        "x-forwarded-proto": "%REQ(X-FORWARDED-PROTO)%",
        "x-forwarded-host": "%REQ(:AUTHORITY)%",
        "x-forwarded-uri": "%REQ(:PATH)%",
    }


def test_forwarded_headers_are_removed_on_request() -> None:
    (host,) = virtual_hosts(route_backend(route("app", 80, 81, middlewares={"hide_x_forwarded": None}))).values()
    assert len(host.request_headers_to_add) == 0
    removed = set(host.request_headers_to_remove)
    assert removed > {f"x-forwarded-{name}" for name in ("for", "host", "method", "proto", "uri", "port", "server")}
    assert all(name.startswith("x-forwarded-") for name in removed)


@pytest.mark.parametrize(
    ("options", "port"),
    [({"http_port": 80}, 0), ({"http_port": 8080}, 443), ({"http_port": 80, "public_https_port": 8443}, 8443)],
)
def test_plain_http_is_redirected_before_anything_else(options: dict[str, Any], port: int) -> None:
    backend = route_backend(route("app", 80, middlewares={"redirect_http": None}))
    (host,) = virtual_hosts(backend, **options).values()
    redirect, safe, rest = host.routes
    (plain,) = redirect.match.headers
    assert (plain.name, plain.string_match.exact, redirect.match.prefix) == ("x-forwarded-proto", "http", "/")
    assert (redirect.redirect.https_redirect, redirect.redirect.port_redirect) == (True, port)
    assert redirect.redirect.response_code == redirect.redirect.PERMANENT_REDIRECT
    assert (len(safe.match.headers), len(rest.match.headers), rest.route.cluster) == (3, 0, "shared/http")


@pytest.mark.parametrize(
    ("balance", "policy"),
    [
        ({}, ""),
        ({"sticky": True}, "pilotage_member 3600 /"),
        ({"sticky": True, "sticky_max_age": 60.0}, "pilotage_member 60 /"),
        ({"mode": "ip_hash"}, "source_ip"),
        ({"mode": "IPHash"}, "source_ip"),
        ({"mode": "round_robin"}, ""),
    ],
)
def test_requests_of_one_client_go_to_one_member_if_a_label_says_so(balance: dict[str, Any], policy: str) -> None:
    backend = route_backend(route("app", 80, 81, load_balance=LoadBalance(**balance)))
    assert backend.backing == "own"
    for action in (it.route for host in virtual_hosts(backend).values() for it in host.routes):
        found = []
        for it in action.hash_policy:
            cookie = it.cookie
            source = "source_ip" if it.connection_properties.source_ip else ""
            found.append(source or f"{cookie.name} {cookie.ttl.ToSeconds()} {cookie.path}")
        assert found == ([policy] if policy else [])


@pytest.mark.parametrize("ports", [(80,), (80, 81)])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_grpc_and_safe_requests_have_routes_of_their_own(scheme: str, ports: tuple[int, ...]) -> None:
    backend = route_backend(route("app", *ports, scheme=scheme, no_tls_verify=True))
    (host,) = virtual_hosts(backend).values()
    *grpc, safe, rest = host.routes
    cluster = f"shared/{scheme}" if len(ports) == 1 else "route/app"
    assert [(it.route.cluster, it.match.HasField("grpc")) for it in grpc] == (
        [(f"{cluster}/h2", True)] if scheme == "https" else []
    )
    method, *absent = safe.match.headers
    assert method.name == ":method"
    # A request with a body may not be silent for as long, whatever its method.
    assert [(it.name, it.present_match) for it in absent] == [("content-length", False), ("transfer-encoding", False)]
    assert {it.route.idle_timeout.ToSeconds() for it in (*grpc, safe)} == {600}
    assert rest.route.idle_timeout.ToSeconds() == 300
    if len(ports) == 1:
        assert (method.string_match.exact, safe.route.cluster) == ("GET", f"{cluster}/safe")
    else:
        assert (method.string_match.safe_regex.regex, safe.route.cluster) == ("GET|HEAD|OPTIONS", cluster)
        assert "reset" in safe.route.retry_policy.retry_on.split(",")
    assert rest.route.cluster == cluster
    assert all(it.route.timeout.ToSeconds() == 0 and it.route.HasField("timeout") for it in host.routes)
    assert all(it.match.prefix == "/" for it in host.routes)


@pytest.mark.parametrize(
    ("settings", "lasting", "brief"),
    [
        ({"response_header_timeout": 20.0}, 600, 300),
        ({"response_header_timeout": 900.0}, 910, 910),
        ({"hold": 7200.0}, 7210, 7210),
    ],
)
def test_a_longer_wait_that_labels_allow_is_no_silence(settings: dict[str, Any], lasting: int, brief: int) -> None:
    (host,) = virtual_hosts(route_backend(route("app", 80, **settings))).values()
    assert [it.route.idle_timeout.ToSeconds() for it in host.routes] == [lasting, brief]


def test_grpc_over_plain_http2_may_be_silent_for_long() -> None:
    (host,) = virtual_hosts(route_backend(route("app", 80, scheme="h2c"))).values()
    assert (host.routes[0].match.HasField("grpc"), host.routes[0].route.idle_timeout.ToSeconds()) == (True, 600)
    assert host.routes[0].route.cluster == "route/app"


def test_no_limit_is_no_limit_even_if_labels_set_one() -> None:
    options = {"body_timeout": 0.0, "stream_timeout": 0.0}
    (host,) = virtual_hosts(route_backend(route("app", 80, hold=5.0)), **options).values()
    assert {it.route.idle_timeout.ToSeconds() for it in host.routes} == {0}


def test_a_host_and_a_prefix_are_rewritten() -> None:
    rewrite = {"request": {"set_headers": {"Host": "app.internal"}, "add_prefix": "v1"}}
    (host,) = virtual_hosts(route_backend(route("app", 80, middlewares=rewrite))).values()
    assert {(it.route.host_rewrite_literal, it.route.prefix_rewrite) for it in host.routes} == {
        ("app.internal", "/v1/")
    }


def test_without_an_endpoint_every_request_is_answered_with_503() -> None:
    (host,) = virtual_hosts(route_backend(route("app"))).values()
    (only,) = host.routes
    assert (only.match.prefix, only.direct_response.status) == ("/", 503)
    assert only.direct_response.body.inline_string.startswith("This service ")
    assert scopes.scope("app", [route_backend(route("app"))], GatewayOptions()).clusters == frozenset()
