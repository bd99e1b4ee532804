"""Finds load-balancing settings of a route that have no effect. Pure.

It needs no package from the ``gateway`` extra.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten_value
from pilotage.xds.options import FORGEABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.routes.route import Route
    from pilotage.routes.schema import LoadBalance
    from pilotage.xds.options import GatewayOptions

__all__ = ["FORWARDED", "IP_HASH", "balance_problems", "mode_of", "read_options"]

_MODES: Final = ("", "roundrobin", "leastconn", "iphash")
IP_HASH: Final = "iphash"
FORWARDED: Final = "x-forwarded-for"
_OPTIONS: Final = ("header", "from", "recursive")


def mode_of(balance: LoadBalance) -> str:
    """Return the mode of load balancing as written, lower-cased and without underscores."""
    return balance.mode.lower().replace("_", "")


def read_options(balance: LoadBalance) -> dict[str, Any]:
    """Return the options of the mode by their names, lower-cased and without underscores."""
    return {str(key).lower().replace("_", ""): value for key, value in (balance.options or {}).items()}


def balance_problems(route: Route, options: GatewayOptions) -> list[Problem]:
    """Return warnings for settings of the load balancing that have no effect."""
    balance = route.settings.load_balance
    if balance == type(balance)():
        return []
    found = [*_mode_problems(route), *_options_problems(route, options)]
    return [msgspec.structs.replace(each, path=f"load_balance.{each.path}", severity="warning") for each in found]


def _mode_problems(route: Route) -> Iterator[Problem]:
    balance = route.settings.load_balance
    if mode_of(balance) not in _MODES:
        hint = did_you_mean(mode_of(balance), ("round_robin", "least_conn", "ip_hash"))
        message = f"{shorten_value(balance.mode)!r} is not a mode, so requests are shared round-robin"
        yield Problem(message=message, hint=hint or "write round_robin, least_conn or ip_hash", path="mode")
    if route.is_stream and balance.sticky:
        message = f"{route.scheme} has no cookies, so each client is assigned to a member by its address"
        yield Problem(message=message, hint="write mode: ip_hash instead", path="sticky")
    if balance.sticky_max_age and (route.is_stream or not balance.sticky):
        yield Problem(
            message="has no effect unless 'sticky' is set on an HTTP route", hint="remove it", path="sticky_max_age"
        )


def _options_problems(route: Route, options: GatewayOptions) -> Iterator[Problem]:
    balance = route.settings.load_balance
    if not balance.options:
        return
    if mode_of(balance) != IP_HASH or balance.sticky or route.is_stream:
        only = "options have an effect only for HTTP routes with mode ip_hash and without sticky"
        yield Problem(message=only, hint="remove them", path="options")
        return
    given = read_options(balance)
    if unknown := given.keys() - set(_OPTIONS):
        hint = did_you_mean(min(unknown), _OPTIONS) or "ip_hash has the options header, from and recursive"
        yield Problem(message=f"{len(unknown)} of the options are unknown", hint=hint, path="options")
    header = given.get("header", FORWARDED)
    if not isinstance(header, str) or not _is_removed(header.lower()):
        hint = "use X-Forwarded-For, X-Real-IP, True-Client-IP or CF-Connecting-IP"
        yield Problem(message="clients could set this header to anything", hint=hint, path="options.header")
    elif not _is_trusted(given.get("from"), options):
        message = "the gateway trusts such headers only from its trusted proxies"
        hint = "list these networks in gateway.trusted_proxies, too"
        yield Problem(message=message, hint=hint, path="options.from")


def _is_removed(header: str) -> bool:
    """Return whether a header is removed from the requests of all clients but trusted proxies."""
    return any(re.fullmatch(f"{name}.+" if name.endswith("-") else name, header) for name in FORGEABLE)


def _is_trusted(networks: Any, options: GatewayOptions) -> bool:
    trusted = [ipaddress.ip_network(text, strict=False) for text in options.trusted_proxies]
    found = networks if isinstance(networks, list) else str(networks or "").replace(",", " ").split()
    try:
        wanted = [ipaddress.ip_network(str(text), strict=False) for text in found]
    except ValueError:
        return False
    return bool(wanted) and all(
        any(t.version == n.version and n.subnet_of(t) for t in trusted)  # type: ignore[arg-type]
        for n in wanted
    )
