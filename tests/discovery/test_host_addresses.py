from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.discovery.host_addresses import HostAddresses, network_gateways

if TYPE_CHECKING:
    from pathlib import Path

TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 10.17.0.0
        /24 link UNICAST
     |-- 10.17.0.1
        /32 host LOCAL
     |-- 10.18.0.1
        /32 link UNICAST
        /32 host LOCAL
     |-- 10.17.0.255
        /32 link BROADCAST
Local:
     |-- 10.17.0.1
        /32 host LOCAL
"""
INET6 = "fd000000000000000000000000000002 02 40 00 80     eth0\n00000000000000000000000000000001 01 80 10 80       lo\n"


def files(folder: Path, trie: str = TRIE, inet6: str = INET6) -> dict[str, Any]:
    (folder / "fib_trie").write_text(trie)
    (folder / "if_inet6").write_text(inet6)
    return {"ipv4": folder / "fib_trie", "ipv6": folder / "if_inet6"}


def test_the_kernels_local_addresses_are_those_of_this_machine(tmp_path: Path) -> None:
    assert HostAddresses(**files(tmp_path))() == {"10.17.0.1", "10.18.0.1", "fd00::2", "::1"}


def test_they_are_read_again_after_two_seconds(tmp_path: Path) -> None:
    now = 0.0
    found = HostAddresses(**files(tmp_path), clock=lambda: now)
    assert not found.has("10.19.0.1")
    files(tmp_path, TRIE.replace("10.17.0.1", "10.19.0.1"))
    assert not found.has("10.19.0.1")
    now = 2.0
    assert found.has("10.19.0.1")


@pytest.mark.parametrize("text", ["", "garbage \xe9"])
def test_without_the_kernels_lists_none_are_known(tmp_path: Path, text: str) -> None:
    assert HostAddresses(ipv4=tmp_path / "none", ipv6=tmp_path / "none")() == frozenset()
    assert HostAddresses(**files(tmp_path, text, ""))() == frozenset()


def test_every_address_to_which_this_machine_can_bind_is_found() -> None:
    found = HostAddresses()()
    assert "127.0.0.1" in found
    for text in found:
        if ipaddress.ip_address(text).is_link_local:
            continue  # needs the interface as well
        with socket.socket(socket.AF_INET6 if ":" in text else socket.AF_INET) as it:
            it.bind((text, 0))


ROUTES = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    "eth1\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
)


def test_the_gateways_of_a_containers_networks_are_their_first_addresses(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(ROUTES)
    assert network_gateways(tmp_path / "route") == {"172.17.0.1", "172.18.0.1"}
    (tmp_path / "route").write_text("x\ny\n")
    assert network_gateways(tmp_path / "route") == frozenset()
    assert network_gateways(tmp_path / "none") == frozenset()
