"""Lists the networks from which Cloudflare connects to its customers' servers. Pure.

Source: Cloudflare's published list of IP ranges, which rarely changes. The daemon reads that list regularly. Until the
first time, the networks in this module apply.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from pilotage.core.text import shorten_value

__all__ = ["CLOUDFLARE", "CLOUDFLARE_LISTS", "read_networks", "with_networks"]

CLOUDFLARE: Final = (
    "173.245.48.0/20",
    "103.21.244.0/22",
    "103.22.200.0/22",
    "103.31.4.0/22",
    "141.101.64.0/18",
    "108.162.192.0/18",
    "190.93.240.0/20",
    "188.114.96.0/20",
    "197.234.240.0/22",
    "198.41.128.0/17",
    "162.158.0.0/15",
    "104.16.0.0/13",
    "104.24.0.0/14",
    "172.64.0.0/13",
    "131.0.72.0/22",
    "2400:cb00::/32",
    "2606:4700::/32",
    "2803:f800::/32",
    "2405:b500::/32",
    "2405:8100::/32",
    "2a06:98c0::/29",
    "2c0f:f248::/32",
)

CLOUDFLARE_LISTS: Final = ("https://www.cloudflare.com/ips-v4", "https://www.cloudflare.com/ips-v6")
"""Where Cloudflare publishes its networks, one in each line."""

_MOST: Final = 500
_SHORTEST: Final = {4: 10, 6: 24}
"""Version of IP -> minimum length of a prefix, so that no list can make pilotage trust a large part of the Internet."""


def read_networks(text: str) -> tuple[str, ...]:
    """Return the networks in a list.

    Args:
        text: the list, one network in each line. It is untrusted.

    Raises:
        ValueError: a line is not a public network or is too large a network, or the list has less than half of the
            known networks.

    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > _MOST:
        raise ValueError(f"the list has more than {_MOST} networks")
    found = {}
    for line in lines:
        try:
            network = ipaddress.ip_network(line)
        except ValueError:
            raise ValueError(f"{shorten_value(line)!r} is not a network") from None
        if not network.is_global or network.prefixlen < _SHORTEST[network.version]:
            raise ValueError(f"{line} is not public, or is too large")
        found[str(network)] = network
    known = [ipaddress.ip_network(it) for it in CLOUDFLARE]
    kept = sum(any(it.version == new.version and it.subnet_of(new) for new in found.values()) for it in known)  # type: ignore[arg-type]
    if kept < len(known) / 2:
        raise ValueError(f"the list has only {kept} of {len(known)} known networks")
    return tuple(found)


def with_networks(proxies: tuple[str, ...], old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """Return trusted proxies with new networks of Cloudflare instead of the old ones, if these are all listed."""
    if not set(old) <= set(proxies):
        return proxies
    return tuple(dict.fromkeys((*(it for it in proxies if it not in old), *new)))
