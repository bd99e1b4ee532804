from __future__ import annotations

import asyncio
import errno
import functools
import select
import socket
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from envoy.config.cluster.v3 import cluster_pb2

from pilotage.routes.route import Endpoint
from pilotage.routes.schema import HealthCheck, LoadBalance
from pilotage.xds.backend import route_backend
from pilotage.xds.clusters import is_probed, own_clusters, shared_clusters
from pilotage.xds.options import GatewayOptions
from pilotage.xds.retries import retries
from tests.support.gateway import becomes, route, server_context, target
from tests.support.waiting import until

if TYPE_CHECKING:
    import trustme

    from tests.xds.conftest import Envoy


_SHARED = ["shared/http", "shared/http/safe", "shared/https", "shared/https/safe", "shared/https/h2"]


def test_plain_routes_share_a_cluster() -> None:
    assert own_clusters(route_backend(route("app", 80)), GatewayOptions()) == []
    assert [it.name for it in shared_clusters(GatewayOptions())] == _SHARED


@pytest.mark.parametrize(
    "asking",
    [
        {"hold": 1.0},
        {"service": ("local", "shop", "web")},
        {"max_conns_per_host": 2},
        {"healthcheck": HealthCheck()},
        {"scheme": "h2c"},
        {"scheme": "https"},
        {"scheme": "https", "no_tls_verify": True, "ssl_server_name": "x"},
        {"endpoints": (Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80))},
        {"endpoints": (Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80, state="draining"))},
        {"endpoints": (Endpoint("name.example.org", 80),)},
    ],
    ids=str,
)
def test_settings_of_the_cluster_need_an_own_cluster(asking: dict[str, Any]) -> None:
    made = own_clusters(route_backend(route("app", 80, **asking)), GatewayOptions())
    assert made[0].name == "route/app"


def test_a_cluster_with_health_checks_is_sent_without_them_first() -> None:
    (checked,) = own_clusters(route_backend(route("app", 80, healthcheck=HealthCheck())), GatewayOptions())
    assert checked.first is not None
    assert checked.first.version != checked.version
    assert len(checked.first.body) < len(checked.body)


def _while_restarting(**settings: Any) -> cluster_pb2.Cluster:
    backend = route_backend(route("app", endpoints=(), **settings), restarting=True)
    (cluster,) = own_clusters(backend, GatewayOptions())
    return cluster_pb2.Cluster.FromString(cluster.body)


def test_few_retries_outlast_the_restart_of_a_container() -> None:
    waiting = _while_restarting()
    tries = retries(route_backend(route("app", 80)), GatewayOptions()).num_retries.value
    assert waiting.connect_timeout.ToMilliseconds() * (tries - 3) >= 4_500  # three attempts were refused before
    assert not _while_restarting(hold=9.0).HasField("upstream_bind_config")


def test_connecting_to_the_endpoint_of_a_restarting_container_neither_succeeds_nor_fails() -> None:
    waiting = _while_restarting()
    address = waiting.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    with socket.socket() as connecting:
        for option in waiting.upstream_bind_config.socket_options:
            connecting.setsockopt(option.level, option.name, option.buf_value)
        connecting.setblocking(False)
        assert connecting.connect_ex((address.address, address.port_value)) == errno.EINPROGRESS
        assert select.select([], [connecting], [], 0.1)[1] == []


async def test_replicas_are_used_round_robin(envoy: Envoy) -> None:
    async with target("one") as one, target("two") as two, envoy() as gw:
        await gw.publish(route("app", one.port, two.port))
        by = [(await gw.ask("app")).by for _ in range(10)]
        assert sorted(by) == ["one"] * 5 + ["two"] * 5


@pytest.mark.proves("load_balance.weight")
async def test_weights_divide_a_pool(envoy: Envoy) -> None:
    async with target("one") as one, target("two") as two, envoy() as gw:
        await gw.publish(
            route("a", one.port, load_balance=LoadBalance(link="shop", weight=3)),
            route("b", two.port, load_balance=LoadBalance(link="shop", weight=1)),
        )
        by = [(await gw.ask("shop.example.org")).by for _ in range(16)]
        assert sorted(by) == ["one"] * 12 + ["two"] * 4


@pytest.mark.proves("load_balance.mode")
async def test_the_least_busy_member_gets_more_requests(envoy: Envoy) -> None:
    async with target("busy") as busy, target("idle") as idle, envoy() as gw:
        stop = asyncio.Event()

        async def hang(_request: web.Request) -> web.Response:
            await stop.wait()
            return web.Response(headers={"X-From": "busy"})

        busy.handlers["/hang"] = hang
        balance = LoadBalance(link="shop", mode="least_conn")
        await gw.publish(route("a", busy.port, load_balance=balance), route("b", idle.port, load_balance=balance))
        hanging = [asyncio.create_task(gw.ask("shop", "/hang")) for _ in range(20)]
        await until(lambda: any(path == "/hang" for _, path, _ in busy.seen))
        by = [(await gw.ask("shop")).by for _ in range(60)]
        assert by.count("idle") > 30  # 45 on average: of two drawn at random, the one with fewer requests
        stop.set()
        await asyncio.gather(*hanging)


@pytest.mark.proves("max_conns_per_host")
async def test_connections_to_a_target_are_limited(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        running = most = 0
        go_on = asyncio.Event()

        async def count(_request: web.Request) -> web.Response:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await go_on.wait()
            running -= 1
            return web.Response()

        it.handlers["/count"] = count
        await gw.publish(route("app", it.port, max_conns_per_host=2))
        asking = [asyncio.create_task(gw.ask("app", "/count")) for _ in range(6)]
        await until(lambda: running == 2)
        assert (await gw.ask("nothing")).status == 404  # all six have reached Envoy by now
        go_on.set()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}  # they waited
        assert most == 2


# ---- health --------------------------------------------------------------------------------------------------------


@pytest.mark.proves("healthcheck.path", "healthcheck.use_get")
async def test_a_failing_endpoint_is_removed_and_restored(envoy: Envoy) -> None:
    async with target("good") as good, target("bad") as bad, envoy() as gw:
        status = 503
        probes: list[str] = []

        async def health(request: web.Request) -> web.Response:
            probes.append(request.method)
            return web.Response(status=status)

        bad.handlers["/healthz"] = health
        check = HealthCheck(path="/healthz", interval=1, timeout=1, retries=1, use_get=True)
        await gw.publish(route("app", good.port, bad.port, healthcheck=check))

        async def seen() -> set[str]:
            return {(await gw.ask("app")).by for _ in range(6)}

        await becomes(seen, {"good"})
        status = 200
        await becomes(seen, {"good", "bad"})
        assert set(probes) == {"GET"}


@pytest.mark.proves("healthcheck.interval", "healthcheck.retries")
async def test_probes_are_as_frequent_and_as_patient_as_labels_say(envoy: Envoy) -> None:
    probes: dict[str, int] = {}
    by_connection: dict[object, int] = {}

    async def fails_twice(request: web.Request) -> web.Response:
        """Pass one probe, fail the next two, and so on; each cluster of a route has a connection of its own."""
        probes[request.host] = probes.get(request.host, 0) + 1
        number = by_connection[request.transport] = by_connection.get(request.transport, 0) + 1
        return web.Response(status=200 if number % 3 == 1 else 503)

    async with (
        target("good") as good,
        target("one") as one,
        target("two") as two,
        target("rare") as rare,
        envoy() as gw,
    ):
        for it in (one, two, rare):
            it.handlers["/healthz"] = fails_twice

        def checked(alias: str, *ports: int, **check: Any) -> Any:
            return route(alias, *ports, healthcheck=HealthCheck(path="/healthz", **check))

        await gw.publish(
            checked("strict", good.port, one.port, interval=1, retries=2),
            checked("patient", good.port, two.port, interval=1, retries=3),
            checked("seldom", rare.port, interval=3600, retries=1),
        )

        async def seen(alias: str) -> set[str]:
            return {(await gw.ask(alias)).by for _ in range(6)}

        await becomes(functools.partial(seen, "strict"), {"good"})
        while probes[f"127.0.0.1:{two.port}"] < 8:
            assert await seen("patient") == {"good", "two"}
        assert probes[f"127.0.0.1:{rare.port}"] <= 2  # one for each cluster


async def test_a_new_route_with_health_checks_is_served_immediately(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        wait = asyncio.Event()

        async def slow(_request: web.Request) -> web.Response:
            await wait.wait()
            return web.Response()

        it.handlers["/healthz"] = slow
        check = HealthCheck(path="/healthz", interval=5, timeout=5)
        gw.publish_unheard(route("app", it.port, healthcheck=check))
        await until(lambda: any(path == "/healthz" for _, path, _ in it.seen))

        async def status() -> int:
            return (await gw.ask("app")).status

        await becomes(status, 200)  # although no probe has been answered yet
        wait.set()


async def test_failing_endpoints_get_no_requests_while_others_are_healthy(envoy: Envoy) -> None:
    async with target("good") as good, target("bad") as bad, target("worse") as worse, envoy() as gw:

        async def unwell(_request: web.Request) -> web.Response:
            return web.Response(status=503)

        bad.handlers["/"] = worse.handlers["/"] = unwell
        check = HealthCheck(interval=1, retries=1)
        await gw.publish(route("app", good.port, bad.port, worse.port, healthcheck=check))

        async def seen() -> set[str]:
            return {(await gw.ask("app", "/page")).by for _ in range(12)}

        await becomes(seen, {"good"})
        good.handlers["/"] = unwell  # nothing is well any more: better any than none
        await becomes(seen, {"good", "bad", "worse"})


async def test_a_health_check_sends_the_endpoint_as_host(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, healthcheck=HealthCheck(path="/healthz")))
        await until(lambda: it.seen)
        method, path, headers = it.seen[0]
        assert (method, path, headers["host"]) == ("HEAD", "/healthz", f"127.0.0.1:{it.port}")


@pytest.mark.proves("healthcheck.timeout")
async def test_the_timeout_of_a_health_check_comes_from_the_label(envoy: Envoy) -> None:
    async with target("slow") as slow, target("bad") as bad, target("silent") as silent, envoy() as gw:
        begun, expired = asyncio.Event(), asyncio.Event()
        kept: list[bool] = []

        async def late(request: web.Request) -> web.Response:
            begun.set()
            await expired.wait()
            kept.append(request.transport is not None)
            return web.Response()

        async def never(request: web.Request) -> web.Response:
            await until(lambda: request.transport is None)  # Envoy has given up the probe
            expired.set()
            return web.Response()

        async def unwell(_request: web.Request) -> web.Response:
            return web.Response(status=503)

        slow.handlers["/"], bad.handlers["/"], silent.handlers["/"] = late, unwell, never
        app = route("app", slow.port, bad.port, healthcheck=HealthCheck(timeout=20, interval=1, retries=1))
        await gw.publish(app)
        await asyncio.wait_for(begun.wait(), 20)
        # This route's probe begins later, and is given up after the usual time.
        await gw.publish(app, route("usual", silent.port, healthcheck=HealthCheck(interval=1, retries=1)))
        await until(lambda: len(kept) >= 2)
        assert all(kept)

        async def seen() -> set[str]:
            return {(await gw.ask("app", "/page")).by for _ in range(12)}

        await becomes(seen, {"slow"})


async def test_health_checks_use_http1_even_if_requests_use_http2(envoy: Envoy, authority: trustme.CA) -> None:
    context = server_context(authority, "127.0.0.1")
    context.set_alpn_protocols(["h2", "http/1.1"])
    agreed: list[str | None] = []

    async def health(request: web.Request) -> web.Response:
        assert request.transport is not None
        agreed.append(request.transport.get_extra_info("ssl_object").selected_alpn_protocol())
        return web.Response()

    async with target(ssl_context=context) as it, envoy() as gw:
        it.handlers["/"] = health
        await gw.publish(route("app", it.port, scheme="https", no_tls_verify=True, healthcheck=HealthCheck()))
        await until(lambda: len(agreed) >= 2)  # of both clusters
        assert set(agreed) == {"http/1.1"}


@pytest.mark.parametrize(
    ("fields", "probed"),
    [
        ({"healthcheck": HealthCheck()}, True),
        ({"healthcheck": HealthCheck(), "scheme": "tcp"}, True),
        ({"healthcheck": HealthCheck(), "scheme": "udp"}, False),
        ({"healthcheck": HealthCheck(), "endpoints": ()}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_backend_is_probed_if_its_route_is_and_it_has_an_endpoint(fields: dict[str, Any], probed: bool) -> None:
    backend = route_backend(route("app", 80, **fields))
    assert is_probed(backend) is probed
    assert any(cluster.first for cluster in own_clusters(backend, GatewayOptions())) is probed
