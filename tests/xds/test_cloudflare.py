from __future__ import annotations

import ipaddress
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.xds.capabilities import check_capabilities
from pilotage.xds.cloudflare import CLOUDFLARE, read_networks, with_networks
from pilotage.xds.options import GatewayOptions
from tests.support.gateway import route, target

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy


def test_the_networks_are_valid_and_do_not_overlap() -> None:
    networks = [ipaddress.ip_network(text) for text in CLOUDFLARE]
    for one, other in itertools.combinations(networks, 2):
        assert one.version != other.version or not one.overlaps(other)
    assert all(network.is_global for network in networks)


def test_a_plausible_list_is_read() -> None:
    assert read_networks("\n".join(CLOUDFLARE)) == CLOUDFLARE
    assert read_networks("\r\n".join(CLOUDFLARE[:12]) + "\n\n") == CLOUDFLARE[:12]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "only 0 of 22 known networks"),
        ("\n".join(CLOUDFLARE[:10]), "only 10 of 22"),
        ("\n".join((*CLOUDFLARE, "10.0.0.0/8")), "10.0.0.0/8 is not public, or is too large"),
        ("\n".join((*CLOUDFLARE, "2000::/3")), "2000::/3 is not public, or is too large"),
        ("\n".join((*CLOUDFLARE, "1.2.3.4/8")), "'1.2.3.4/8' is not a network"),
        ("1.1.1.0/24\n" * 501, "more than 500 networks"),
    ],
)
def test_any_other_list_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_networks(text)


def test_networks_are_replaced_only_if_all_are_listed() -> None:
    assert with_networks(("a", "b", "c"), ("a", "b"), ("d",)) == ("c", "d")
    assert with_networks(("a", "c"), ("a", "b"), ("d",)) == ("a", "c")


@pytest.mark.parametrize(
    ("middlewares", "trusted", "found"),
    [
        ({}, (), ["gateway.trusted_proxies lacks Cloudflare's networks"]),
        ({}, CLOUDFLARE[1:], ["gateway.trusted_proxies lacks Cloudflare's networks"]),
        ({}, CLOUDFLARE, []),
        ({}, ("0.0.0.0/0", "::/0"), []),
        ({"cidr_whitelist": {"allow": "10.0.0.0/8"}}, (), ["gateway.trusted_proxies lacks Cloudflare's networks"]),
    ],
)
def test_the_gateway_must_trust_cloudflare(middlewares: Any, trusted: tuple[str, ...], found: list[str]) -> None:
    made = route("app", 80, middlewares={"cloudflare_real_ip": None, **middlewares})
    problems, served = check_capabilities(made, GatewayOptions(trusted_proxies=trusted))
    assert [problem.message.partition(", so")[0] for problem in problems] == found
    assert served is not bool(found and middlewares)


@pytest.mark.proves("middlewares.cloudflare_real_ip")
async def test_the_address_of_the_client_comes_from_trusted_networks_only(envoy: Envoy) -> None:
    allowed = {"cloudflare_real_ip": None, "cidr_whitelist": {"allow": "203.0.113.0/24"}}
    async with target() as it:
        for trusted, status in (((*CLOUDFLARE, "127.0.0.0/8"), 200), (CLOUDFLARE, 403)):
            async with envoy(trusted_proxies=trusted) as gw:
                await gw.publish(route("app", it.port, middlewares=allowed))
                spoofed = "198.51.100.1, 203.0.113.7, 104.16.0.1"
                assert (await gw.ask("app", headers={"X-Forwarded-For": spoofed})).status == status
                assert (await gw.ask("app", headers={"X-Forwarded-For": "203.0.113.7, 198.51.100.1"})).status == 403
