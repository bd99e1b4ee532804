from __future__ import annotations

import pytest

from pilotage.core.addresses import is_address, is_ipv4


@pytest.mark.parametrize("host", ["10.0.0.1", "255.255.255.255", "::1", "fe80::1%eth0", "::ffff:127.0.0.1"])
def test_an_address_in_its_usual_spelling_is_one(host: str) -> None:
    assert is_address(host)


@pytest.mark.parametrize("host", ["", "localhost", "127.1", "256.0.0.1", "010.0.0.1", "0x7f000001", "10.0.0.1."])
def test_names_and_other_spellings_are_not(host: str) -> None:
    assert not is_address(host)


@pytest.mark.parametrize(
    ("host", "is_one"), [("10.0.0.1", True), ("::1", False), ("::ffff:10.0.0.1", False), ("", False)]
)
def test_only_ipv4_addresses_are_ipv4(host: str, is_one: bool) -> None:
    assert is_ipv4(host) is is_one
