"""What a route does while its containers are not awake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from envoy.config.cluster.v3 import cluster_pb2

from pilotage.routes.gate import Gate
from pilotage.xds.backend import Backend, route_backend
from pilotage.xds.cluster_names import epoch_cluster, gate_of
from pilotage.xds.clusters import own_clusters
from pilotage.xds.options import GatewayOptions
from pilotage.xds.port_listeners import port_listener
from pilotage.xds.scoped_routes import scope
from tests.support.summaries import route

if TYPE_CHECKING:
    from envoy.config.route.v3 import route_components_pb2

    from pilotage.routes.gate import Opening

OPTIONS = GatewayOptions()


def backend(gate: Gate) -> Backend:
    return route_backend(route({"proxy.idle_timeout": "5m"}), gate=gate)


def routes_of(gate: Gate) -> list[route_components_pb2.Route]:
    from envoy.config.route.v3 import scoped_route_pb2

    made = scope("web", [backend(gate)], OPTIONS)
    (host,) = scoped_route_pb2.ScopedRouteConfiguration.FromString(made.body).route_configuration.virtual_hosts
    return list(host.routes)


def clusters(gate: Gate) -> list[str]:
    return [item.name for item in own_clusters(backend(gate), OPTIONS)]


def test_the_name_of_a_cluster_has_the_epoch() -> None:
    assert epoch_cluster("shop", 7) == "sleep/7/shop"
    assert gate_of("sleep/7/a/b@c") == "a/b@c"
    assert gate_of("route/shop@7") == ""  # that of a tcp route with such an alias


@pytest.mark.parametrize(
    ("gate", "names"),
    [
        (Gate(7, "open"), ["sleep/7/web"]),
        (Gate(7, "closed"), []),
        (Gate(7, "failed", "broken"), []),
        (Gate(8, "closed", busy=(7,)), ["sleep/7/web"]),
        (Gate(8, "open", busy=(7,)), ["sleep/8/web", "sleep/7/web"]),
    ],
)
def test_envoys_have_the_clusters_of_the_epochs_that_may_have_requests(gate: Gate, names: list[str]) -> None:
    assert clusters(gate) == names


@pytest.mark.parametrize("opening", ["open", "closed", "failed"])
def test_datagrams_always_go_to_the_relay(opening: Opening) -> None:
    labels = {"proxy.idle_timeout": "5m", "proxy.web.scheme": "udp", "proxy.web.port": "5300:53"}
    made = route_backend(route(labels), gate=Gate(7, opening, relay=4321))
    (cluster,) = own_clusters(made, OPTIONS)
    assert cluster.name == "route/web"
    found = cluster_pb2.Cluster.FromString(cluster.body).load_assignment.endpoints[0].lb_endpoints[0]
    assert found.endpoint.address.socket_address.port_value == 4321
    assert port_listener(made, OPTIONS, []).clusters == {"route/web"}


def test_a_closed_gate_references_no_cluster_and_an_open_one_does() -> None:
    assert scope("web", [backend(Gate(7, "closed"))], OPTIONS).clusters == frozenset()
    assert scope("web", [backend(Gate(7, "open"))], OPTIONS).clusters == {"sleep/7/web"}


def test_while_closed_page_loads_come_first_and_everything_else_waits_for_the_cluster() -> None:
    events, page, *others = routes_of(Gate(7, "closed"))
    assert events.match.path == "/.pilotage/wake-events"
    assert events.route.cluster == "pilotage-pages"
    assert all(it.route.HasField("idle_timeout") for it in [events, page, *others])
    (header,) = events.request_headers_to_add
    assert (header.header.key, header.header.value) == ("x-pilotage-route", "web")
    assert "pilotage.page" in page.typed_per_filter_config
    assert {"accept", "upgrade"} <= {matcher.name for matcher in page.match.headers}
    assert {it.route.cluster for it in [page, *others]} == {"sleep/7/web"}


def test_without_the_page_everything_waits() -> None:
    found = routes_of(Gate(7, "closed", page=False))
    assert {it.route.cluster for it in found} == {"sleep/7/web"}
    assert not any(it.typed_per_filter_config for it in found)


def test_only_the_start_path_wakes() -> None:
    _, *waking, last = routes_of(Gate(7, "closed", start_path="/wake"))
    assert all("/wake" in it.match.headers[-1].string_match.safe_regex.regex for it in waking)
    assert last.direct_response.status == 403


def test_after_a_failure_requests_are_rejected_and_browsers_see_why() -> None:
    _, page, last = routes_of(Gate(7, "failed", "broken"))
    assert "pilotage.page" in page.typed_per_filter_config
    assert last.direct_response.status == 503


def test_an_open_gate_changes_nothing_but_the_name() -> None:
    plain: Any = route_backend(route({"proxy.idle_timeout": "5m"}))
    assert len(routes_of(Gate(7, "open"))) == len(routes_of(Gate(8, "open")))
    assert msgspec.structs.replace(backend(Gate(7, "open")), gate=None, names=None, backing=plain.backing) == plain
