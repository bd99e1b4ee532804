from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from pilotage import Endpoint, Route
from pilotage.routes.json import route_json
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.route import (
    bracketed,
    secrets_of,
)
from pilotage.routes.schema import HealthCheck, LoadBalance, RouteSettings
from tests.support.summaries import ID, route

if TYPE_CHECKING:
    from pilotage.routes.route import EndpointState


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({"host": "10.0.0.5", "port": PortPair(0, 80)}, "http://10.0.0.5:80"),
        ({"host": "fd00::5", "port": PortPair(0, 80)}, "http://[fd00::5]:80"),
        ({"scheme": "tcp", "host": "10.0.0.5", "port": PortPair(1, 2)}, "tcp4://10.0.0.5:2"),
        ({"scheme": "udp", "host": "fd00::5", "port": PortPair(1, 2)}, "udp6://[fd00::5]:2"),
        ({"scheme": "tcp", "host": "db.internal", "port": PortPair(1, 2)}, "tcp://db.internal:2"),
        ({"scheme": "tcp", "host": "10.0.0.5", "port": PortPair(1, 2), "excluded": True}, "tcp://10.0.0.5:2"),
        ({"host": ""}, None),
        ({"scheme": "fileserver", "settings": RouteSettings(root="/srv/www")}, "file:///srv/www"),
    ],
)
def test_the_target_is_a_url(fields: dict[str, Any], target: str | None) -> None:
    assert Route(alias="a", **fields).target == target


@pytest.mark.parametrize(
    ("fields", "listen"),
    [
        ({}, None),
        ({"bind": "10.0.0.1"}, "https://10.0.0.1:0"),
        ({"port": PortPair(8443, 80)}, "https://:8443"),
        ({"scheme": "tcp", "bind": "0.0.0.0", "port": PortPair(22, 22)}, "tcp4://0.0.0.0:22"),
        ({"scheme": "udp", "bind": "::1", "port": PortPair(53, 53)}, "udp6://[::1]:53"),
        ({"scheme": "tcp", "bind": "0.0.0.0", "port": PortPair(22, 22), "excluded": True}, None),
    ],
)
def test_the_listener_is_a_url_or_none_for_the_shared_listeners(fields: dict[str, Any], listen: str | None) -> None:
    assert Route(alias="a", **fields).listen == listen


def test_streams_are_tcp_and_udp() -> None:
    assert [
        s for s in ("http", "https", "h2c", "tcp", "udp", "fileserver") if Route(alias="a", scheme=s).is_stream
    ] == [
        "tcp",
        "udp",
    ]


@pytest.mark.parametrize(
    ("fields", "probed"),
    [
        ({"labelled": ("healthcheck",)}, True),
        ({"settings": RouteSettings(load_balance=LoadBalance(link="shop"))}, True),
        ({"labelled": ("healthcheck",), "scheme": "tcp"}, True),
        ({}, False),
        ({"labelled": ("healthcheck",), "scheme": "udp"}, False),
        ({"labelled": ("healthcheck",), "excluded": True}, False),
        ({"labelled": ("healthcheck",), "health_check": False}, False),
        ({"labelled": ("healthcheck",), "settings": RouteSettings(healthcheck=HealthCheck(disable=True))}, False),
    ],
    ids=str,
)
def test_a_route_is_probed_if_a_label_configures_it_or_it_is_in_a_pool(fields: dict[str, Any], probed: bool) -> None:
    assert Route(**{"alias": "app", "health_check": True, **fields}).probed is probed


def test_an_endpoint_has_an_address() -> None:
    assert [Endpoint(host, 80).address for host in ("10.0.0.5", "fd00::5")] == ["10.0.0.5:80", "[fd00::5]:80"]
    assert bracketed("name") == "name"


def test_a_route_remembers_whose_it_is() -> None:
    found = route()
    assert (found.provider, found.container, found.container_id, found.created) == ("local", "web", ID, 1_700_000_000)


def test_a_sleeping_route_says_so_because_it_has_no_target() -> None:
    found = route({"proxy.idle_timeout": "5m"}, State="exited", NetworkSettings={"Networks": {}})
    assert (found.target, found.endpoints, found.excluded) == (None, (), False)
    assert found.remark == "asleep; its address is known once it wakes"


@pytest.mark.parametrize(
    ("states", "serving", "remark"),
    [
        ("", "", ""),
        ("ready ready", "a b", ""),
        ("ready draining", "a", "b: it is about to stop"),
        ("unhealthy ready", "b", "a: its health check fails"),
        ("ready waiting", "a", "b: its health check has not passed yet"),
        ("unhealthy", "a", "a: its health check fails; no endpoint is ready; requests are sent anyway"),
        (
            "draining unhealthy",
            "b",
            "a: it is about to stop; b: its health check fails; no endpoint is ready; requests are sent anyway",
        ),
        ("draining", "a", "a: it is about to stop; no endpoint is ready; requests are sent anyway"),
        ("waiting", "", "a: its health check has not passed yet; no endpoint takes requests"),
    ],
)
def test_requests_go_to_the_best_endpoints_and_never_to_one_that_was_never_healthy(
    states: str, serving: str, remark: str
) -> None:
    endpoints = tuple(
        Endpoint("10.0.0.5", 80, name, name, cast("EndpointState", state))
        for name, state in zip("abc", states.split(), strict=False)
    )
    found = msgspec.structs.replace(route(), endpoints=endpoints)
    assert [endpoint.container for endpoint in found.serving] == serving.split()
    assert found.remark == remark


def test_the_secrets_of_a_route_are_those_that_its_json_hides() -> None:
    settings = RouteSettings(
        middlewares={"request": {"set_headers": {"X-Key": "canary"}, "add_prefix": "/shown"}},
        load_balance=LoadBalance(options={"header": "c2"}),
        rules=[{"do": "c3"}],
    )
    route = Route("web", settings=settings, labelled=("middlewares", "load_balance", "rules"))
    assert secrets_of(route) == {"canary", "c2", "c3"}
    assert not any(secret in str(route_json(route)) for secret in secrets_of(route))
