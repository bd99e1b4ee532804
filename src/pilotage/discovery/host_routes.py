"""Checks whether this host has a route to an address, other than its default route."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["routes_to"]

_IPV4: Final = Path("/proc/net/route")
_IPV6: Final = Path("/proc/net/ipv6_route")
_UP: Final = 1
_REJECT: Final = 0x200


def routes_to(address: str, *, ipv4: Path = _IPV4, ipv6: Path = _IPV6) -> bool:
    """Return whether this host has a route to an address, other than its default route.

    If it has none, traffic to the address leaves this machine, and may reach an unrelated machine with that address.

    Args:
        address: an IP address; for any other text, the result is False.
        ipv4: the kernel's table of IPv4 routes.
        ipv6: the kernel's table of IPv6 routes.

    """
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]
    try:
        wanted = ipaddress.ip_address(address)
        networks = list(_ipv4_networks(ipv4) if wanted.version == 4 else _ipv6_networks(ipv6))
    except (OSError, ValueError):
        return False
    return any(network.prefixlen and wanted in network for network in networks)


def _ipv4_networks(table: Path) -> Iterator[ipaddress.IPv4Network]:
    for line in table.read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if int(fields[3], 16) & (_UP | _REJECT) == _UP:
            destination, mask = (int.from_bytes(bytes.fromhex(fields[at]), "little") for at in (1, 7))
            yield ipaddress.IPv4Network((destination, mask.bit_count()), strict=False)


def _ipv6_networks(table: Path) -> Iterator[ipaddress.IPv6Network]:
    for line in table.read_text(encoding="ascii").splitlines():
        fields = line.split()
        if int(fields[8], 16) & (_UP | _REJECT) == _UP:
            yield ipaddress.IPv6Network((int(fields[0], 16), int(fields[1], 16)), strict=False)
