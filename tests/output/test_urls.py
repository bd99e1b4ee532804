from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.output.urls import GatewayPorts, url_of
from pilotage.table.store import build_table
from tests.support.example_engine import engine_snapshot, one

if TYPE_CHECKING:
    from pilotage.routes.route import Route


@pytest.mark.parametrize(
    ("gateway", "url"),
    [
        (GatewayPorts(), "http://web.localhost:8080"),
        (GatewayPorts(http_port=80), "http://web.localhost"),
        (GatewayPorts(match_domains=("example.org", "lan")), "http://web.example.org:8080"),
        (GatewayPorts(https_port=443), "http://web.localhost:8080"),
        (GatewayPorts(https_port=443, redirect_to_https=True), "https://web.localhost"),
        (GatewayPorts(http_port=0, https_port=8443), "https://web.localhost:8443"),
        (
            GatewayPorts(http_port=0, https_port=8443, public_https_port=443),
            "https://web.localhost",
        ),
    ],
)
def test_an_address_is_the_one_that_answers(gateway: GatewayPorts, url: str) -> None:
    (route,) = build_table([engine_snapshot([one("web")])]).sorted_routes()
    assert url_of(route, gateway) == url


def bound(place: str) -> Route:
    (route,) = build_table(
        [engine_snapshot([one("dns", {"proxy.dns": f"scheme: udp\nport: 53:53\nbind: '{place}'"})])]
    ).sorted_routes()
    return route


@pytest.mark.parametrize(
    ("place", "url"), [("0.0.0.0", "udp://localhost:53"), ("10.0.0.1", "udp://10.0.0.1:53"), ("::1", "udp://[::1]:53")]
)
def test_a_stream_has_a_port_of_its_own(place: str, url: str) -> None:
    assert url_of(bound(place), GatewayPorts()) == url


def test_an_alias_with_dots_is_a_host() -> None:
    (route,) = build_table([engine_snapshot([one("web", {"proxy.aliases": "shop.example.net"})])]).sorted_routes()
    assert url_of(route, GatewayPorts(match_domains=("example.org",))) == "http://shop.example.net:8080"


def test_the_url_of_a_wildcard_shows_where_anything_fits() -> None:
    (route,) = build_table([engine_snapshot([one("web", {"proxy.aliases": "*.example.net"})])]).sorted_routes()
    assert url_of(route, GatewayPorts()) == "http://ANYTHING.example.net:8080"


def test_the_url_of_a_route_in_a_pool_is_that_of_the_pool() -> None:
    (route,) = build_table([engine_snapshot([one("web-1", {"proxy.web-1.load_balance.link": "web"})])]).sorted_routes()
    assert url_of(route, GatewayPorts()) == "http://web.localhost:8080"
