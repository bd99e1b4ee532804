"""Determines the hosts that a route answers for. Pure.

An alias without dots also answers under each of the gateway's ``match_domains`` or, if that list is empty, under any
domain. A route in a pool answers under the pool's name instead.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.routes.route import Route

__all__ = ["ANY_LABEL", "clean_domains", "first_label", "is_host", "is_stream_pool", "served_name"]

ANY_LABEL: Final = "__any__"
"""Stands for the label that a wildcard matches when the gateway looks up a host. No name may begin with it."""

# Host names must not contain underscores, but browsers and Compose accept them.
_VALID: Final = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.IGNORECASE | re.ASCII)


def is_host(name: str) -> bool:
    """Return whether a name is one that clients can request, or a wildcard (``*.example.com``) for such names."""
    return _VALID.fullmatch(name) is not None and name.partition(".")[0].lower() != ANY_LABEL


def served_name(route: Route) -> str:
    """Return the name under which a route answers: its pool's name, or else its alias; ``""`` if there is none.

    A tcp or udp route answers under no alias, and the name of its pool is not a host.
    """
    if route.excluded:
        return ""
    return route.pool_name or ("" if route.is_stream else route.alias)


def first_label(name: str) -> str:
    """Return a full name's first label, whose alias may answer for it; ``""`` for wildcards and short names."""
    label, dot, _ = name.partition(".")
    return label if dot and label != "*" and "/" not in label else ""


def is_stream_pool(name: str) -> bool:
    """Return whether a name is that of a pool of tcp or udp routes, such as ``tcp/db``."""
    scheme, slash, link = name.partition("/")
    return scheme in ("tcp", "udp") and bool(slash and link)


def clean_domains(domains: Iterable[str]) -> tuple[str, ...]:
    """Return domains without duplicates, lower-cased and without leading and trailing dots."""
    found = (domain.strip().lower().lstrip(".").rstrip(".") for domain in domains)
    return tuple(dict.fromkeys(domain for domain in found if domain))
