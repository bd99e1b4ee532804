"""The filter of a tcp listener, and what changes when containers sleep and wake."""

from __future__ import annotations

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from pilotage.routes.gate import Gate
from pilotage.xds.backend import Backend, route_backend
from pilotage.xds.listeners import stream_listener
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import EXTENSION
from pilotage.xds.stream_filters import own_resources, tcp_filter
from tests.support.summaries import route

OPTIONS = GatewayOptions()
TCP = {"proxy.idle_timeout": "5m", "proxy.web.scheme": "tcp", "proxy.web.port": "2222:22"}


def backend(gate: Gate | None) -> Backend:
    return route_backend(route(TCP), gate=gate)


def proxy_of(gate: Gate) -> tcp_proxy_pb2.TcpProxy:
    (item,) = [it for it in own_resources(backend(gate), OPTIONS) if it.type_url == EXTENSION]
    assert item.name == tcp_filter(backend(gate), OPTIONS).name
    found = tcp_proxy_pb2.TcpProxy()
    assert extension_pb2.TypedExtensionConfig.FromString(item.body).typed_config.Unpack(found)
    return found


def test_the_listener_stays_the_same_in_each_epoch() -> None:
    gates = (Gate(7, "open"), Gate(8, "closed", busy=(7,)), Gate(9, "failed", "broken"))
    assert len({stream_listener(backend(gate), OPTIONS).version for gate in gates}) == 1


def test_its_filter_leads_to_the_cluster_of_the_epoch_and_asks_for_it() -> None:
    assert [proxy_of(Gate(epoch, "closed")).cluster for epoch in (7, 8)] == ["sleep/7/web", "sleep/8/web"]
    assert proxy_of(Gate(7, "open")).HasField("on_demand")


def test_a_route_whose_containers_never_sleep_has_its_filter_in_the_listener() -> None:
    plain = backend(None)
    assert all(it.type_url != EXTENSION for it in own_resources(plain, OPTIONS))
    assert tcp_filter(plain, OPTIONS).HasField("typed_config")
