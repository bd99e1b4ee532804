"""Determines the hosts that a route answers for. Pure.

An alias without dots also answers under each of the gateway's ``match_domains`` or, if that list is empty, under any
domain. The alias ``*`` answers for every host that no other route has. A route in a pool answers under the pool's name
instead.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pilotage.core.hostnames import ascii_host
from pilotage.core.text import shorten, shorten_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pilotage.routes.route import Route

__all__ = [
    "ANY_LABEL",
    "DEFAULT",
    "caught_by",
    "clean_domains",
    "first_label",
    "is_host",
    "is_stream_pool",
    "mistake_in",
    "served_name",
]

ANY_LABEL: Final = "~any~"
"""Stands for the label that a wildcard matches when the gateway looks up a host.

It is not valid in a host name, so neither a client nor an alias can use it.
"""

DEFAULT: Final = "*"
"""The alias of the route that answers for every host that no other route has."""

# Host names must not contain underscores, but browsers and Compose accept them.
_VALID: Final = re.compile(r"\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.IGNORECASE | re.ASCII)


def is_host(name: str) -> bool:
    """Return whether clients can request a name, or names that match it: ``*.example.com`` or ``*``."""
    return _VALID.fullmatch(name) is not None


def served_name(route: Route) -> str:
    """Return the name under which a route answers: its pool's name, or else its alias; ``""`` if there is none.

    A tcp or udp route answers under no alias, and the name of its pool is not a host.
    """
    if route.excluded:
        return ""
    return route.pool_name or ("" if route.is_stream else route.alias)


def first_label(name: str) -> str:
    """Return the first label of a full name; ``""`` for wildcards and short names.

    The alias that equals this label may also answer for the full name.
    """
    label, dot, _ = name.partition(".")
    return label if dot and label != "*" and "/" not in label else ""


def is_stream_pool(name: str) -> bool:
    """Return whether a name is that of a pool of tcp or udp routes, such as ``tcp/db``."""
    scheme, slash, link = name.partition("/")
    return scheme in ("tcp", "udp") and bool(slash and link)


def clean_domains(domains: Iterable[str]) -> tuple[str, ...]:
    """Return domains without duplicates, lower-cased and without leading and trailing dots."""
    found = (ascii_host(domain.strip().lstrip(".").rstrip(".")) for domain in domains)
    return tuple(dict.fromkeys(domain for domain in found if domain))


def caught_by(name: str) -> str:
    """Return which hosts a wildcard answers for, as readable text; ``""`` for any other name."""
    if name == DEFAULT:
        return "every host that no other route has"
    domain = name.removeprefix("*.")
    return (
        f"every host one label below {domain}, such as any.{domain}, that no other route has" if domain != name else ""
    )


_TRAEFIK: Final = re.compile(r"[A-Za-z]+\([`'\"]?([^`'\")]*).*", re.DOTALL)
_WITH_PORT: Final = re.compile(r"[^:]+:[0-9]+")
_HOST_PART: Final = re.compile(r"(?:[^:/]*://)?([^/:?#]*)")


def mistake_in(name: str) -> tuple[str, str] | None:
    """Return why no client can request a name as a host, and what to write instead; ``None`` if clients can.

    Args:
        name: an alias or the name of a pool, as :func:`~pilotage.core.hostnames.ascii_host` returns it.

    """
    return None if is_host(name) else next(_mistakes(name))


def _mistakes(name: str) -> Iterator[tuple[str, str]]:
    """Yield possible mistakes in a name that no client can request, the most likely one first."""
    shown, host = repr(shorten_value(name)), _host_in(name)
    instead = f"write {host}" if host else "write a name such as shop or shop.example.com"
    if "$" in name or "{" in name:
        yield f"{shown} contains a variable that was not replaced", "set the variable, or write the name itself"
    if (rule := _TRAEFIK.fullmatch(name)) is not None:
        inner = _host_in(rule[1])
        yield f"{shown} is a rule of another proxy, not a host name", f"write {inner}" if inner else instead
    if "://" in name:
        yield f"{shown} is a URL, not a host name", instead
    if set(name[:1] + name[-1:]) & set("[]"):
        yield f"{shown} has a bracket, which does not belong in a list of names", "separate the names with commas: a, b"
    if set(name) & set("'\"`"):
        yield f"{shown} has quotes, which are part of the name", "remove the quotes"
    if set(name) & set("|;&"):
        yield f"{shown} is not one name", "separate the names with commas: a, b"
    if "/" in name:
        yield f"{shown} has a path, but requests are routed by their host alone", instead
    if _WITH_PORT.fullmatch(name):
        yield f"{shown} has a port, but a host name has none", f"{instead}; the label port sets the target's port"
    if name.startswith(".") and is_host(name[1:]):
        yield f"{shown} begins with a dot", f"write {name[1:]}, or *{name} for the names below it"
    if "*" in name:
        yield f"{shown} has a wildcard in the wrong place", "write it as the first label alone: *.example.com"
    hint = "write a name of letters, digits, dashes and dots, such as shop.example.com"
    yield f"no client can request the host {shown}", hint


def _host_in(text: str) -> str:
    """Return the host of a URL, ``host:port`` or ``host/path``; ``""`` if there is none."""
    found = _HOST_PART.match(text)
    host = ascii_host(found[1]) if found is not None else ""
    return shorten(host) if host and is_host(host) else ""
