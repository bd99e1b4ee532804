"""Reads which proxies the gateway trusts: networks, or ``cloudflare`` for Cloudflare's networks. Pure."""

from __future__ import annotations

from typing import Any

from pilotage.xds.cloudflare import CLOUDFLARE

__all__ = ["with_known_proxies"]


def with_known_proxies(value: Any) -> Any:
    """Replace ``cloudflare`` with Cloudflare's networks, also as an item of a list. Return other values unchanged."""
    if value == "cloudflare":
        return list(CLOUDFLARE)
    if not isinstance(value, list):
        return value
    return [network for item in value for network in (CLOUDFLARE if item == "cloudflare" else (item,))]
