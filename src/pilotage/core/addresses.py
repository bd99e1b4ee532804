"""Recognizes IP addresses. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

__all__ = ["is_address", "is_ipv4"]

_BYTE: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4: Final = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}", re.ASCII)


def is_ipv4(host: str) -> bool:
    """Return whether a host is an IPv4 address in standard notation."""
    return _IPV4.fullmatch(host) is not None


def is_address(host: str) -> bool:
    """Return whether a host is an IPv4 or IPv6 address in standard notation, not a name that must be resolved."""
    if is_ipv4(host):  # fast path for most hosts
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
