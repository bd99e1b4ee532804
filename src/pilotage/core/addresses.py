"""Recognizes IP addresses. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

__all__ = ["is_address"]

_BYTE: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4: Final = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}", re.ASCII)


def is_address(host: str) -> bool:
    """Return whether a host is an IPv4 or IPv6 address in standard notation, not a name that must be resolved."""
    if _IPV4.fullmatch(host):  # fast path for most hosts
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
