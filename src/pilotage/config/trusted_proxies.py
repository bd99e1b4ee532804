"""Reads which proxies the gateway trusts: networks, and the name of a list that pilotage knows. Pure."""

from __future__ import annotations

from typing import Any

from pilotage.xds.cloudflare import CLOUDFLARE

__all__ = ["with_known_proxies"]


def with_known_proxies(value: Any) -> Any:
    """Return a list of networks in which ``cloudflare`` is replaced by Cloudflare's networks; other values as given."""
    if value == "cloudflare":
        return list(CLOUDFLARE)
    if not isinstance(value, list):
        return value
    return [network for item in value for network in (CLOUDFLARE if item == "cloudflare" else (item,))]
