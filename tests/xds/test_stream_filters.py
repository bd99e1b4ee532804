"""The filter of a tcp listener, and what changes when containers sleep and wake."""

from __future__ import annotations

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.network.connection_limit.v3 import connection_limit_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from pilotage.routes.gate import Gate
from pilotage.xds.backend import Backend, route_backend
from pilotage.xds.options import GatewayOptions
from pilotage.xds.port_listeners import port_listener
from pilotage.xds.resources import EXTENSION
from pilotage.xds.stream_filters import own_resources, tcp_filters
from tests.support.summaries import route

OPTIONS = GatewayOptions()
TCP = {"proxy.idle_timeout": "5m", "proxy.web.scheme": "tcp", "proxy.web.port": "2222:22"}


def backend(gate: Gate | None) -> Backend:
    return route_backend(route(TCP), gate=gate)


def proxy_of(gate: Gate) -> tcp_proxy_pb2.TcpProxy:
    limit, item = [it for it in own_resources(backend(gate), OPTIONS) if it.type_url == EXTENSION]
    assert [limit.name, item.name] == [it.name for it in tcp_filters(backend(gate), OPTIONS)]
    found = tcp_proxy_pb2.TcpProxy()
    assert extension_pb2.TypedExtensionConfig.FromString(item.body).typed_config.Unpack(found)
    return found


def test_the_listener_stays_the_same_in_each_epoch() -> None:
    gates = (Gate(7, "open"), Gate(8, "closed", busy=(7,)), Gate(9, "failed", "broken"))
    assert len({port_listener(backend(gate), OPTIONS, []).version for gate in gates}) == 1


def test_its_filter_leads_to_the_cluster_of_the_epoch_and_asks_for_it() -> None:
    assert [proxy_of(Gate(epoch, "closed")).cluster for epoch in (7, 8)] == ["sleep/7/web", "sleep/8/web"]
    assert proxy_of(Gate(7, "open")).HasField("on_demand")


def test_a_route_whose_containers_never_sleep_has_its_filter_in_the_listener() -> None:
    plain = backend(None)
    assert all(it.type_url != EXTENSION for it in own_resources(plain, OPTIONS))
    (proxy,) = tcp_filters(plain, OPTIONS)
    assert proxy.HasField("typed_config")


def test_connections_are_limited_only_while_they_wait() -> None:
    def limits(gate: Gate) -> bool:
        (item, _) = [it for it in own_resources(backend(gate), OPTIONS) if it.type_url == EXTENSION]
        found = connection_limit_pb2.ConnectionLimit()
        assert extension_pb2.TypedExtensionConfig.FromString(item.body).typed_config.Unpack(found)
        return found.runtime_enabled.default_value.value

    assert [limits(Gate(7, opening)) for opening in ("open", "closed")] == [False, True]
