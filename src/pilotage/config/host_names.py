"""Recognizes host names and IP addresses in the configuration. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

__all__ = ["is_host"]

_NAME: Final = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?"
)


def is_host(text: str) -> bool:
    """Return whether a text is a host name or an IP address, which may be in brackets."""
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return _NAME.fullmatch(text) is not None
    return True
