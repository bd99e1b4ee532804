"""Finds the addresses of this machine, which change as networks of containers come and go."""

from __future__ import annotations

import ipaddress
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["HostAddresses", "network_gateways"]

_IPV4: Final = Path("/proc/net/fib_trie")
_IPV6: Final = Path("/proc/net/if_inet6")
_ROUTES: Final = Path("/proc/net/route")
_MAX_AGE: Final = 2.0
"""Seconds that the kernel's list is used before it is read again."""

_LOCAL: Final = re.compile(r"\|-- ([0-9.]+)\n(?: +/\d+ .*\n)*? +/32 host LOCAL")


class HostAddresses:
    """The addresses of this machine, or of its container, as the kernel lists them; empty on systems other than Linux.

    Args:
        ipv4: the kernel's table of IPv4 addresses.
        ipv6: the kernel's list of IPv6 addresses.
        clock: returns the time in seconds.

    """

    def __init__(self, *, ipv4: Path = _IPV4, ipv6: Path = _IPV6, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = (ipv4, ipv6)
        self._clock = clock
        self._read_at = -_MAX_AGE
        self._known: frozenset[str] = frozenset()

    def has(self, address: str) -> bool:
        """Return whether an address in canonical form belongs to this machine."""
        return address in self()

    def __call__(self) -> frozenset[str]:
        """Return all addresses in canonical form, read at most two seconds ago."""
        now = self._clock()
        if now - self._read_at >= _MAX_AGE:
            self._read_at = now
            self._known = frozenset((*_ipv4(self._files[0]), *_ipv6(self._files[1])))
        return self._known


def network_gateways(table: Path = _ROUTES) -> frozenset[str]:
    """Return the IPv4 gateways of this machine's networks.

    In a container, these are addresses of the host: engines give the host the first address of each network.

    Args:
        table: the kernel's table of IPv4 routes.

    """
    found = set()
    try:
        for line in table.read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            destination, gateway = (int.from_bytes(bytes.fromhex(fields[at]), "little") for at in (1, 2))
            found.add(gateway or destination + 1)
    except (OSError, ValueError, IndexError):
        pass
    return frozenset(str(ipaddress.IPv4Address(it)) for it in found)


def _ipv4(table: Path) -> Iterator[str]:
    try:
        text = table.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return
    yield from _LOCAL.findall(text)


def _ipv6(table: Path) -> Iterator[str]:
    try:
        lines = table.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    yield from (str(ipaddress.IPv6Address(int(line.split()[0], 16))) for line in lines)
