from __future__ import annotations

import asyncio
import functools
import itertools
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc.aio
import pytest
import trustme
from envoy.service.discovery.v3 import discovery_pb2

from pilotage.discovery.update import Update
from pilotage.routes.route import Endpoint
from pilotage.table.diff import Change, diff
from pilotage.table.table import Table
from pilotage.xds.bootstrap import build_bootstrap
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import CLUSTER, LISTENER, SCOPE
from pilotage.xds.server import AdsServer
from pilotage.xds.session import Session
from tests.support.gateway import becomes, route, target
from tests.support.leaks import assert_no_leaks
from tests.support.steps import same_cost, steps_of
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from tests.xds.conftest import Envoy


async def test_a_restarted_control_plane_sends_nothing_to_an_envoy_that_is_current(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        routes = [route(f"app{n}", it.port, **({"max_conns_per_host": 5} if n % 2 else {})) for n in range(50)]
        await gw.publish(*routes)
        await gw.ads.close()
        assert (await gw.ask("app7")).status == 200  # Envoy serves without the control plane
        sent: list[int] = []
        second = AdsServer(gw.options)
        gw.ads = second

        class Counting(Session):
            def next_responses(self) -> list[discovery_pb2.DeltaDiscoveryResponse]:
                found = super().next_responses()
                sent.extend(message.ByteSize() for message in found)
                assert not any(message.resources or message.removed_resources for message in found)
                return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pilotage.xds.server.Session", Counting)
            await second.start(gw.address)
            second.publish(Table({it.alias: it for it in routes}))
            async with asyncio.timeout(20):
                await second.wait_for_acks()
        assert sum(sent) < 1000
        assert (await gw.ask("app8")).status == 200
        await second.close()


async def test_envoy_receives_what_changed_while_the_control_plane_was_down(envoy: Envoy) -> None:
    async with target("one") as one, target("two") as two, envoy() as gw:
        await gw.publish(route("stays", one.port), route("moves", one.port), route("goes", one.port, one.port + 1))
        await gw.ads.close()
        gw.ads = AdsServer(gw.options)
        await gw.ads.start(gw.address)
        await gw.publish(route("stays", one.port), route("moves", two.port), route("comes", two.port))
        hosts = {"stays": "one", "moves": "two", "comes": "two", "goes": ""}
        assert {host: (await gw.ask(host)).by for host in hosts} == hosts
        assert (CLUSTER, "route/goes") not in gw.ads.snapshot.resources
        await gw.ads.close()


async def test_a_restarted_envoy_receives_everything(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port), route("own", it.port, max_conns_per_host=2))
        await gw.stop()
        await becomes(_nodes(gw.ads), ())
        await gw.start()
        async with asyncio.timeout(20):
            await gw.ads.wait_for_acks()

        async def statuses() -> list[int]:
            try:
                return [(await gw.ask(host)).status for host in ("app", "own")]
            except OSError:
                return []

        await becomes(statuses, [200, 200])


def _nodes(ads: AdsServer) -> Callable[[], Awaitable[tuple[str, ...]]]:
    async def nodes() -> tuple[str, ...]:
        return ads.nodes

    return nodes


async def test_nothing_is_sent_before_the_first_table(tmp_path: Path) -> None:
    async with AdsServer(GatewayOptions()) as ads:
        await ads.start(f"unix:{tmp_path}/xds.sock")
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/xds.sock") as channel:
            stream = _stream(channel)
            await stream.write(_first(CLUSTER))
            reading = asyncio.create_task(stream.read())
            await asyncio.wait([reading], timeout=0.2)
            assert not reading.done()
            ads.publish(Table())
            assert {it.name for it in (await reading).resources} >= {"shared/http", "shared/https"}
            stream.cancel()


def _stream(channel: grpc.aio.Channel) -> Any:
    return channel.stream_stream(
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
        request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
        response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
    )()


def _first(type_url: str) -> discovery_pb2.DeltaDiscoveryRequest:
    return discovery_pb2.DeltaDiscoveryRequest(node={"id": "me"}, type_url=type_url)


async def test_nacks_of_one_envoy_do_not_affect_another(tmp_path: Path) -> None:
    async with AdsServer(GatewayOptions()) as ads:
        await ads.start(f"unix:{tmp_path}/xds.sock")
        ads.publish(Table())
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/xds.sock") as channel:
            stream = _stream(channel)
            await stream.write(_first(LISTENER))
            told = await stream.read()
            assert [it.name for it in told.resources] == ["http"]
            assert ads.listener_problems("me") == ()
            nack = {"type_url": LISTENER, "response_nonce": told.nonce, "error_detail": {"message": "no"}}
            await stream.write(discovery_pb2.DeltaDiscoveryRequest(**nack))
            await until(lambda: bool(ads.listener_problems("me")))
            assert "Envoy me rejected the listener http" in ads.listener_problems("me")[0].message
            assert ads.listener_problems("another") == ()
            stream.cancel()


async def test_remote_envoys_need_a_client_certificate(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    own, theirs, false = authority.issue_cert("127.0.0.1"), authority.issue_cert("envoy"), stranger.issue_cert("envoy")
    roots = authority.cert_pem.bytes()
    async with AdsServer(GatewayOptions()) as ads:
        from tests.support.ports import free_port

        address = f"127.0.0.1:{free_port()}"
        await ads.start(address, tls=(roots, own.cert_chain_pems[0].bytes(), own.private_key_pem.bytes()))
        ads.publish(Table())
        for shown, welcome in (theirs, True), (false, False), (None, False):
            pair = {}
            if shown is not None:
                pair = {
                    "private_key": shown.private_key_pem.bytes(),
                    "certificate_chain": shown.cert_chain_pems[0].bytes(),
                }
            credentials = grpc.ssl_channel_credentials(root_certificates=roots, **pair)
            async with grpc.aio.secure_channel(address, credentials) as channel:
                stream = _stream(channel)
                if welcome:
                    await stream.write(_first(CLUSTER))
                    assert (await stream.read()).resources
                    stream.cancel()
                else:
                    with pytest.raises(grpc.aio.AioRpcError):
                        await stream.read()


async def test_waiting_for_one_envoy_ignores_the_others() -> None:
    class Listener:
        def __init__(self, node: str) -> None:
            self.node, self.in_sync = node, False

    ads = AdsServer(GatewayOptions())
    mine, other = Listener("mine"), Listener("other")
    ads._sessions[other] = asyncio.Event()  # type: ignore[index]
    waiting = asyncio.create_task(ads.wait_for_acks(node="mine"))
    other.in_sync = True
    ads.envoys.wake_waiters()
    await asyncio.sleep(0)
    assert not waiting.done()
    ads._sessions[mine] = asyncio.Event()  # type: ignore[index]
    mine.in_sync, other.in_sync = True, False
    ads.envoys.wake_waiters()
    await waiting


@pytest.mark.parametrize("everything", [False, True])
async def test_an_envoy_that_has_only_connected_has_acknowledged_nothing(tmp_path: Path, *, everything: bool) -> None:
    async with AdsServer(GatewayOptions()) as ads:
        await ads.start(f"unix:{tmp_path}/xds.sock")
        changed = ads.publish(Table({"app": route("app", 80)}))
        waiting = asyncio.create_task(ads.wait_for_acks(None if everything else changed))
        unchanged = asyncio.create_task(ads.wait_for_acks(ads.publish(Table({"app": route("app", 80)}))))
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/xds.sock") as channel:
            stream = _stream(channel)
            await until(lambda: ads.nodes == ("",))
            for type_url in (CLUSTER, LISTENER, SCOPE):
                ads.envoys.wake_waiters()
                await asyncio.sleep(0)
                assert not waiting.done()
                assert unchanged.done() is (type_url != CLUSTER)  # by then, it has said its name
                await stream.write(_first(type_url))
                told = await stream.read()
                acknowledged = {"type_url": type_url, "response_nonce": told.nonce}
                await stream.write(discovery_pb2.DeltaDiscoveryRequest(**acknowledged))
            await asyncio.gather(waiting, unchanged)
            stream.cancel()


async def test_an_address_that_cannot_be_bound_raises_a_clear_error() -> None:
    ads = AdsServer(GatewayOptions())
    with pytest.raises(OSError, match="File exists"):
        await ads.start("unix:/dev/null/xds.sock")


async def test_closing_leaves_nothing_behind(tmp_path: Path) -> None:
    grpc.aio.init_grpc_aio()
    async with AdsServer(GatewayOptions()) as ads:
        await ads.start(f"unix:{tmp_path}/warm.sock")
    async with assert_no_leaks():
        async with AdsServer(GatewayOptions()) as ads:
            await ads.start(f"unix:{tmp_path}/xds.sock")
            ads.publish(Table({"app": route("app", 80, hold=60.0)}))
            ads.publish(Table())


async def test_consecutive_updates_change_only_the_affected_resources() -> None:
    ads = AdsServer(GatewayOptions())
    table = Table({f"app{n}": route(f"app{n}", 80) for n in range(20)})
    ads.publish(Update(Table(), table, diff(Table(), table)))
    for port in itertools.islice(itertools.count(81), 3):
        new = Table({**table.routes, "app3": route("app3", port)}, version=table.version + 1)
        assert ads.publish(Update(table, new, diff(table, new))) == {(SCOPE, "app3")}
        table = new
    assert ads.publish(table) == frozenset()


@pytest.mark.parametrize("name", ["app", "h2"])
async def test_a_cluster_lingers_whatever_the_name_of_its_backend(name: str) -> None:
    async with AdsServer(GatewayOptions()) as ads:
        ads.publish(Table({name: route(name, 80, max_conns_per_host=9)}))
        ads.publish(Table({name: route(name, 80)}))
        assert ads._retiring == {(CLUSTER, f"route/{name}")}
        ads.publish(Table())
        assert ads._retiring == set()


async def test_a_thousand_changes_of_other_routes_do_not_interrupt_a_download(envoy: Envoy) -> None:
    from aiohttp import web

    async with target() as it, envoy() as gw:
        go_on = asyncio.Event()

        async def slow(request: web.Request) -> web.StreamResponse:
            answer = web.StreamResponse()
            await answer.prepare(request)
            await answer.write(b"begin")
            await go_on.wait()
            await answer.write(b"end")
            return answer

        it.handlers["/slow"] = slow
        mine = route("mine", it.port)
        await gw.publish(mine)
        async with gw.client.get(gw.url + "/slow", headers={"Host": "mine"}) as answer:
            assert await answer.content.readexactly(5) == b"begin"
            for count in range(1000):
                ports = [it.port] if count % 2 else [it.port, it.port + 1]
                gw.publish_unheard(mine, route(f"other{count % 10}", *ports))
                if count % 10 == 0:
                    await gw.ads.wait_for_acks()
            await gw.ads.wait_for_acks()
            go_on.set()
            assert await answer.content.read() == b"end"
        assert gw.refused == []


class _Hanging:
    """A server that accepts connections and never responds; it can abort them all."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.asked = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        self.asked.set()

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


@pytest.mark.parametrize("plain", [False, True], ids=["a replica", "a route that is plain by now"])
async def test_a_request_in_flight_is_retried_on_the_new_endpoint(envoy: Envoy, *, plain: bool) -> None:
    """The old endpoint has accepted the request and closes the connection without a response."""
    hanging, service = _Hanging(), ("local", "shop", "web")
    server = await asyncio.start_server(hanging, "127.0.0.1", 0)
    old = server.sockets[0].getsockname()[1]
    async with server, target("new") as new, envoy() as gw:
        await gw.publish(route("app", old, service=service))
        asking = asyncio.create_task(gw.ask("app"))
        await hanging.asked.wait()
        await gw.publish(route("app", new.port, service=service))
        if plain:
            await gw.publish(route("app", new.port))
        hanging.cut()
        assert (await asking).by == "new"


async def test_a_cluster_lingers_after_its_backend_moves_to_the_shared_cluster(envoy: Envoy) -> None:
    async with target() as it, envoy(linger=0.3) as gw:
        own, plain = route("app", it.port, max_conns_per_host=9), route("app", it.port)
        await gw.publish(own)
        await gw.publish(plain)
        (session,) = gw.ads._sessions
        cluster = session._subscriptions[CLUSTER].acked
        assert "route/app" in cluster
        await becomes(lambda: _in(cluster, "route/app"), expected=False)
        await gw.publish(own)
        await gw.publish(plain)
        assert "route/app" in cluster
        await gw.publish()  # no endpoint is left, and its address may soon belong to another container
        assert "route/app" not in cluster


async def _in(names: Iterable[str], name: str) -> bool:
    return name in names


async def test_closing_with_an_open_stream_and_a_waiting_request_logs_nothing(
    envoy: Envoy, caplog: pytest.LogCaptureFixture
) -> None:
    async with envoy() as gw:
        await gw.publish(route("app", endpoints=(), hold=30.0))
        asking = asyncio.create_task(gw.ask("app"))
        await until(lambda: gw.ads.held.clusters)
        await gw.ads.close()
        assert gw.ads.nodes == ()
        asking.cancel()
        await asyncio.wait([asking])
    # The test's Envoy has no module to limit clients; that is said when it connects.
    assert [it for it in caplog.records if it.name != "pilotage.xds.client_limit"] == []


async def test_frequent_keepalive_pings_do_not_close_the_stream(envoy: Envoy, monkeypatch: pytest.MonkeyPatch) -> None:
    def lively(address: str, node: str, **options: Any) -> dict[str, Any]:
        made = build_bootstrap(address, node, **options)
        (cluster,) = made["static_resources"]["clusters"]
        (protocol,) = cluster["typed_extension_protocol_options"].values()
        protocol["explicit_http_config"]["http2_protocol_options"]["connection_keepalive"]["interval"] = "0.01s"
        return made

    monkeypatch.setattr("tests.support.gateway.build_bootstrap", lively)
    async with envoy() as gw:
        connector = aiohttp.UnixConnector(str(gw.directory / "admin.sock"))
        async with aiohttp.ClientSession("http://envoy", connector=connector) as admin:

            async def metric(name: str) -> int:
                async with admin.get("/stats", params={"filter": f"^cluster.pilotage.{name}$"}) as answer:
                    return int((await answer.text()).rpartition(":")[2])

            begun = await metric("upstream_cx_tx_bytes_total")
            async with asyncio.timeout(20):
                while await metric("upstream_cx_tx_bytes_total") < begun + 20 * 17:  # noqa: ASYNC110  # pings of 17 bytes
                    await asyncio.sleep(0.01)
            assert await metric("upstream_cx_total") == 1


async def test_a_change_costs_the_same_however_many_routes_linger_or_restart() -> None:
    costs = []
    for size in (10, 10, 1_000):  # the first one fills caches
        async with AdsServer(GatewayOptions()) as ads:
            gone = {f"app{n}": route(f"app{n}", 80, hold=60.0) for n in range(size)}
            ends = (Endpoint("127.0.0.1", 80, state="draining"),)
            drained = {f"old{n}": route(f"old{n}", endpoints=ends) for n in range(size)}
            ads.publish(Table(gone | drained))
            before = Table(drained)
            ads.publish(before)
            assert (len(ads.snapshot.lingering), len(ads._timers)) == (size, 2 * size)
            after = Table(drained | {"new": route("new", 80)})
            news = Update(before, after, (Change("added", "new", after.routes["new"]),))
            costs.append(steps_of(functools.partial(ads.publish, news)))
    assert same_cost(*costs[1:])
