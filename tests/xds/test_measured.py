from __future__ import annotations

from envoy.config.route.v3.scoped_route_pb2 import ScopedRouteConfiguration

from pilotage.routes.route import Endpoint, Route
from pilotage.table.table import Table
from pilotage.xds.backend import route_backend
from pilotage.xds.filters import FOUND
from pilotage.xds.measured import MeasuredNames
from pilotage.xds.options import GatewayOptions
from pilotage.xds.scope_parts import ScopeVariants
from pilotage.xds.scoped_routes import scope
from pilotage.xds.snapshot import Snapshot
from tests.support.gateway import route


def table(*routes: Route) -> Table:
    return Table({route.alias: route for route in routes}, version=1)


def test_only_the_first_names_are_measured_and_they_stay_so() -> None:
    names = MeasuredNames(2)
    first, second, third = (route_backend(route(name, 80)) for name in ("a", "b", "c"))
    found = [names.add_to(it) for it in (first, second, third)]
    assert [it is not None and it.measured for it in found] == [True, True, False]
    assert [names.add_to(it) for it in (first, second, third)] == found
    assert [len(names.problems(it)) for it in (*found, None)] == [0, 0, 1, 0]
    (problem,) = names.problems(found[2])
    assert (problem.severity, problem.route) == ("warning", "c")
    assert "those of 2 other names" in problem.message


def test_streams_are_not_counted_by_name() -> None:
    names = MeasuredNames(0)
    stream = route_backend(route("db", 80, scheme="tcp"))
    assert names.add_to(stream) is stream
    assert names.add_to(None) is None


def test_nothing_that_envoy_counts_has_the_name_of_a_route_that_is_not_measured() -> None:
    """Otherwise its statistics would grow with each new name."""
    names = MeasuredNames(0)
    service = ("local", "shop", "web")
    routes = [
        route("shop", 80),
        route("shop", 80, service=service),
        route("shop", endpoints=()),
        route("shop", endpoints=(), hold=3.0),
        route("shop", 80, middlewares={"forwardauth": {"route": "auth", "auth_endpoint": "/"}}),
    ]
    for it in routes:
        backend = names.add_to(route_backend(it))
        assert backend is not None
        made = scope("shop", [backend], GatewayOptions())
        rejected = ScopeVariants().choose(made, dict.fromkeys(made.clusters, "rejected"), is_new=True).scope
        for found in (made, rejected):
            assert found is not None
            (host,) = ScopedRouteConfiguration.FromString(found.body).route_configuration.virtual_hosts
            assert not host.virtual_clusters
            assert {it.name for it in host.routes} == {FOUND}


def test_new_names_are_not_measured_for_ever_even_if_settings_change() -> None:
    snapshot = Snapshot(GatewayOptions())
    snapshot._measured = MeasuredNames(1)
    for name in ("one", "two"):
        snapshot.replace(table(route(name, endpoints=(Endpoint("10.0.0.1", 80),))))
    assert [problem.route for problem in snapshot.problems["made/route/two"]] == ["two"]
    snapshot.configure(GatewayOptions(http_port=81))
    backend = snapshot.backend("route/two")
    assert backend is not None
    assert not backend.measured
    snapshot.replace(table(route("one", 80)))
    assert snapshot.problems == {}
