from __future__ import annotations

from typing import Any

import pytest

from pilotage.routes.port_syntax import PortPair
from pilotage.routes.route import Endpoint, EndpointState
from pilotage.routes.schema import HealthCheck, LoadBalance
from pilotage.xds.backend import may_restart, pool_backend, route_backend, usable
from pilotage.xds.cluster_names import epoch_of, hold_cluster, key_of
from tests.support.gateway import route


def _endpoints(*states: EndpointState) -> list[Endpoint]:
    return [Endpoint(f"10.0.0.{number}", 80, state=state) for number, state in enumerate(states)]


@pytest.mark.parametrize(
    ("states", "chosen"),
    [
        (("ready", "ready"), [0, 1]),
        (("ready", "waiting", "unhealthy", "draining"), [0]),
        (("waiting", "unhealthy", "draining"), [1]),
        (("waiting", "draining"), [1]),
        (("waiting",), []),
        ((), []),
    ],
    ids=str,
)
def test_the_healthiest_endpoints_receive_the_requests(states: tuple[EndpointState, ...], chosen: list[int]) -> None:
    endpoints = _endpoints(*states)
    assert usable(endpoints) == tuple(endpoints[number] for number in chosen)


def test_with_hold_only_ready_endpoints_are_used() -> None:
    assert usable(_endpoints("unhealthy", "draining", "waiting"), only_ready=True) == ()


def test_endpoints_with_one_address_are_merged() -> None:
    twice = [Endpoint("10.0.0.1", 80, container="a"), Endpoint("10.0.0.1", 80, container="b")]
    assert len(usable(twice)) == 1


def test_a_forwardauth_route_has_its_own_cluster() -> None:
    assert route_backend(route("auth", 80)).backing == "shared"
    assert route_backend(route("auth", 80), used_for_auth=True).backing == "own"


def test_a_route_whose_endpoint_may_be_replaced_has_a_cluster_for_retries() -> None:
    assert route_backend(route("app", 80, contested=True)).backing == "own"
    assert route_backend(route("app", 80, service=("local", "shop", "web"))).backing == "own"


def test_the_first_member_determines_a_pools_settings() -> None:
    members = [route(alias, port, load_balance=LoadBalance(link="shop")) for alias, port in (("b", 1), ("a", 2))]
    backend, problems = pool_backend("shop", members)
    assert (backend.route.alias, backend.cluster, len(backend.members), problems) == ("b", "pool/shop", 2, ())


def test_a_member_with_other_access_rules_cannot_join() -> None:
    balance = LoadBalance(link="shop")
    guard = {"cidr_whitelist": {"allow": ["10.0.0.0/8"]}}
    backend, problems = pool_backend(
        "shop", [route("a", 1, load_balance=balance), route("b", 2, load_balance=balance, middlewares=guard)]
    )
    assert [member.endpoint.port for member in backend.members] == [1]
    assert [(problem.route, problem.path) for problem in problems] == [("b", "load_balance.link")]
    assert "middlewares" in problems[0].message


def test_a_member_without_weight_gets_the_mean_weight() -> None:
    weights = {"a": 30, "b": 10, "c": 0}
    members = [
        route(alias, port, load_balance=LoadBalance(link="shop", weight=weight))
        for port, (alias, weight) in enumerate(weights.items(), 1)
    ]
    assert [member.weight for member in pool_backend("shop", members)[0].members] == [30, 10, 20]


def test_a_member_from_outside_weighs_at_most_as_much_as_the_heaviest_of_those_inside() -> None:
    def weights(*given: tuple[str, int, str]) -> list[int]:
        members = [
            route(alias, port, load_balance=LoadBalance(link="shop", weight=weight), service=("local", project, alias))
            for port, (alias, weight, project) in enumerate(given, 1)
        ]
        return [member.weight for member in pool_backend("shop", members)[0].members]

    assert weights(("a", 30, "shop"), ("b", 10, "shop"), ("c", 10_000, "other")) == [30, 10, 30]
    assert weights(("a", 0, "shop"), ("b", 10_000, "other")) == [1, 1]
    assert weights(("a", 30, "shop"), ("b", 5, "other"), ("c", 0, "other")) == [30, 5, 30]


@pytest.mark.parametrize(
    "different",
    [
        {"middlewares": {"redirect_http": None}},
        {"hold": 5.0},
        {"no_tls_verify": True},
        {"ssl_server_name": "app.internal"},
        {"ssl_trusted_certificate": "/ca.pem"},
        {"ssl_certificate": "/cert.pem"},
        {"ssl_certificate_key": "/key.pem"},
        {"ssl_protocols": ("TLSv1.3",)},
        {"response_header_timeout": 5.0},
        {"max_conns_per_host": 5},
        {"disable_compression": True},
        {"healthcheck": HealthCheck(interval=7)},
        {"scheme": "https"},
    ],
    ids=lambda different: next(iter(different)),
)
def test_members_of_a_pool_have_these_settings_in_common(different: dict[str, Any]) -> None:
    balance = LoadBalance(link="shop")
    leader, other = route("a", 1, load_balance=balance), route("b", 2, load_balance=balance, **different)
    backend, (problem,) = pool_backend("shop", [leader, other])
    assert [member.endpoint.port for member in backend.members] == [1]
    (name,) = different
    assert problem.message == f"cannot join the pool 'shop': its {name} differs from that of a"
    assert problem.hint == f"give all members of the pool the same {name}"


def test_of_several_differences_the_scheme_is_reported_and_otherwise_the_first() -> None:
    balance = LoadBalance(link="shop")
    leader = route("a", 1, load_balance=balance)
    for different, name in (({"scheme": "https"}, "scheme"), ({}, "hold")):
        other = route("b", 2, load_balance=balance, hold=5.0, no_tls_verify=True, **different)
        (problem,) = pool_backend("shop", [leader, other])[1]
        assert f"its {name} differs" in problem.message


@pytest.mark.parametrize(
    "fields",
    [{"hold": 9.0}, {"load_balance": LoadBalance(link="pool")}, {"scheme": "tcp", "port": PortPair(2222, 22)}],
)
def test_only_http_routes_without_a_hold_or_pool_of_their_own_wait_by_default(fields: dict[str, Any]) -> None:
    draining = (Endpoint("127.0.0.1", 80, state="draining"),)
    assert may_restart(route("app", endpoints=draining))
    assert not may_restart(route("app", endpoints=draining, **fields))


def test_a_route_that_still_has_a_ready_endpoint_does_not_wait() -> None:
    assert not may_restart(route("app", endpoints=tuple(_endpoints("draining", "ready"))))


@pytest.mark.parametrize(
    ("cluster", "key", "epoch"),
    [
        (hold_cluster("pool/shop", 7), "pool/shop", 7),
        (hold_cluster("route/shop", 0), "route/shop", 0),
        ("sleep/8/shop", "route/shop", 8),
        ("sleep/8/POOL/shop", "pool/shop", 8),
        ("sleep/x/shop", "route/shop", 0),
        ("shared/http", "shared/http", 0),
    ],
)
def test_the_name_of_a_cluster_says_which_backend_it_has_and_in_which_epoch(cluster: str, key: str, epoch: int) -> None:
    assert (key_of(cluster), epoch_of(cluster)) == (key, epoch)
