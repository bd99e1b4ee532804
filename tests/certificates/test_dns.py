from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from pilotage.certificates.dns import DnsZoneEditor, make_resolver
from pilotage.certificates.errors import CertificateError
from pilotage.certificates.providers import read_dns_options
from tests.support.dns_server import DnsServer

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "_acme-challenge.shop.example.com"


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with DnsServer().running() as running:
        yield running


def editor(server: DnsServer, **changes: object) -> DnsZoneEditor:
    settings = read_dns_options("rfc2136", server.options, (f"{server.address}:53",))
    return DnsZoneEditor(msgspec.structs.replace(settings, **{"poll_seconds": 0.01, **changes}))


def never() -> bool:
    return False


def test_a_record_is_set_seen_and_removed(server: DnsServer) -> None:
    one = editor(server)
    one.create(NAME, "value-1")
    one.create(NAME, "value-2")  # two certificates at the same time
    assert server.records[NAME] == ["value-1", "value-2"]
    one.wait_until_seen(NAME, "value-1", never)
    one.delete(NAME, "value-1")
    assert server.records[NAME] == ["value-2"]
    one.delete(NAME, "value-1")  # does nothing


def test_a_record_may_take_its_time(server: DnsServer) -> None:
    one = editor(server)
    one.create(NAME, "value")
    server.hidden = 5
    one.wait_until_seen(NAME, "value", never)
    assert server.hidden == 0


def test_a_record_that_never_arrives_is_an_error_that_names_the_server(server: DnsServer) -> None:
    with pytest.raises(CertificateError, match=rf"{NAME} is not on all name servers .* missing: {server.address}"):
        editor(server, propagation_seconds=0.2).wait_until_seen(NAME, "value", never)


def test_aliases_are_followed(server: DnsServer) -> None:
    server.aliases[NAME] = "challenges.example.com"
    assert editor(server).target(NAME) == "challenges.example.com"
    assert editor(server).target("_acme-challenge.other.example.com") == "_acme-challenge.other.example.com"
    server.aliases["challenges.example.com"] = NAME
    with pytest.raises(CertificateError, match="too many aliases"):
        editor(server).target(NAME)


def test_a_provider_that_refuses_is_an_error_without_secrets(server: DnsServer) -> None:
    with pytest.raises(CertificateError) as caught:
        editor(server, options=(("auth_token", "hmac-sha256:key:secret-canary"),)).create(NAME, "value")
    assert "rfc2136 did not create the TXT record" in caught.value.what
    assert "secret-canary" not in str(caught.value)


def test_a_zone_that_cannot_be_found_is_an_error() -> None:
    with DnsServer("example.org").running() as server, pytest.raises(CertificateError, match=r"example\.com"):
        editor(server).create(NAME, "value")


def test_resolvers_have_addresses_and_ports() -> None:
    found = make_resolver(("1.1.1.1:5353", "[2606:4700::1111]:54", "9.9.9.9", "2606:4700::1001"))
    assert found.nameserver_ports == {
        "1.1.1.1": 5353,
        "2606:4700::1111": 54,
        "9.9.9.9": 53,
        "2606:4700::1001": 53,
    }
    with pytest.raises(CertificateError, match="resolvers: "):
        make_resolver(("dns.example.com:x",))
