from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pilotage.routes.gate import Gate
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.route import Endpoint
from pilotage.routes.schema import HealthCheck, LoadBalance, RouteSettings
from pilotage.xds import clusters, scoped_routes
from pilotage.xds.backend import Backend, route_backend
from pilotage.xds.options import GatewayOptions
from pilotage.xds.usual_routes import is_plain, is_usual, usual_cluster
from tests.support.gateway import route

if TYPE_CHECKING:
    from pilotage.xds.resources import Resource

_SERVICE = ("local", "shop", "web")
_OPTIONS = (GatewayOptions(), GatewayOptions(match_domains=("example.com",), retries=1), GatewayOptions(http_port=80))
_NAMES = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,60}[a-z0-9])?(\.[a-z0-9]{1,8}){0,3}", fullmatch=True)


def _backend(alias: str, host: str = "10.0.0.1", port: int = 80, **fields: Any) -> Backend:
    return route_backend(
        route(alias, endpoints=(Endpoint(host, port, "web", "id"),), **{"service": _SERVICE, **fields})
    )


def _made(backend: Backend, options: GatewayOptions) -> list[Resource]:
    label = scoped_routes.scope_label(backend.name)
    return [*clusters.own_clusters(backend, options), scoped_routes.scope(label, [backend], options)]


@given(
    _NAMES,
    st.ip_addresses().map(str),
    st.integers(1, 65535),
    st.sampled_from(_OPTIONS),
    st.sampled_from([_SERVICE, ()]),
    st.sampled_from([{}, {"scheme": "https", "no_tls_verify": True}]),
)
@example("a", "1.1.1.1", 1, _OPTIONS[0], _SERVICE, {})
@example("qjq", "255.255.255.255", 65535, _OPTIONS[1], _SERVICE, {})
@example("http", "127.0.0.1", 80, _OPTIONS[0], (), {})
@example("zz", "::ffff:10.0.0.1", 80, _OPTIONS[0], (), {})
@example("1.1.1.1", "9.9.9.9", 80, _OPTIONS[0], _SERVICE, {})
def test_a_message_from_a_template_is_identical_to_one_that_is_built(
    name: str, host: str, port: int, options: GatewayOptions, service: tuple[str, ...], fields: dict[str, Any]
) -> None:
    backend = _backend(name, host, port, service=service, **fields)
    fast = [msgspec.structs.replace(it, content=it.body) for it in _made(backend, options)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters, "usual_cluster", lambda *_: None)
        patch.setattr(scoped_routes, "_from_template", lambda *_: None)
        assert fast == _made(backend, options)


@pytest.mark.parametrize("service", [_SERVICE, ()])
def test_usual_and_plain_routes_are_made_from_templates(
    monkeypatch: pytest.MonkeyPatch, service: tuple[str, ...]
) -> None:
    for name in ("first", "other"):  # of the same length, so that the first one makes the templates of both
        _made(_backend(name, port=8090, service=service), _OPTIONS[0])
        monkeypatch.setattr(clusters, "_own", None)
        monkeypatch.setattr(scoped_routes, "_built", None)


@pytest.mark.parametrize(
    "fields",
    [
        {"hold": 1.0},
        {"compression": True},
        {"response_header_timeout": 1.0},
        {"max_conns_per_host": 1},
        {"middlewares": {"redirect_http": None}},
        {"healthcheck": HealthCheck()},
        {"load_balance": LoadBalance(sticky=True)},
        {"scheme": "https"},
        {"scheme": "h2c"},
    ],
)
def test_routes_with_settings_of_their_own_are_not_usual(fields: dict[str, Any]) -> None:
    backend = _backend("app", **fields)
    assert not is_usual(backend)
    assert usual_cluster(backend, _OPTIONS[0], lambda *_: b"") is None


@pytest.mark.parametrize("host", ["fd00::1", "db.example.org", "db", "1234567", "10.0.0.1234567890"])
def test_only_routes_to_one_ipv4_address_are_usual(host: str) -> None:
    assert not is_usual(_backend("app", host))
    two = (Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80))
    assert not is_usual(route_backend(route("app", endpoints=two, service=_SERVICE)))


def test_a_route_whose_containers_sleep_or_restart_is_not_usual() -> None:
    sleeping = route("app", 80, service=_SERVICE)
    assert is_usual(route_backend(sleeping))
    assert not is_usual(route_backend(sleeping, gate=Gate(epoch=1, opening="open")))
    assert not is_usual(route_backend(sleeping, restarting=True))


def test_a_plain_route_has_no_cluster_and_only_the_usual_settings() -> None:
    assert is_plain(_backend("app", service=()))
    assert not is_usual(_backend("app", service=()))
    assert not is_plain(_backend("app"))
    for fields in ({"compression": True}, {"response_header_timeout": 1.0}, {"middlewares": {"redirect_http": None}}):
        assert not is_plain(_backend("app", service=(), **fields))


def test_the_port_and_the_looks_of_a_route_are_usual() -> None:
    settings = RouteSettings(port=PortPair(0, 8080), host="10.0.0.1", scheme="http")
    backend = route_backend(route("app", endpoints=(Endpoint("10.0.0.1", 8080),), service=_SERVICE, settings=settings))
    assert is_usual(backend)
