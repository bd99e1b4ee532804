"""Builds how requests are shared among the members of a pool: the mode, sticky clients and hashing. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.udp.udp_proxy.v3 import udp_proxy_pb2
from envoy.type.v3 import hash_policy_pb2

from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten_value
from pilotage.xds.request_checks import FORGEABLE
from pilotage.xds.resources import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.routes.route import Route
    from pilotage.routes.schema import LoadBalance
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions

__all__ = ["balance_problems", "hash_policies", "lb_policy", "tcp_hash", "udp_hash"]

_KIND: Final = cluster_pb2.Cluster
_POLICY: Final = route_components_pb2.RouteAction.HashPolicy
_MODES: Final = {
    "": _KIND.ROUND_ROBIN,
    "roundrobin": _KIND.ROUND_ROBIN,
    "leastconn": _KIND.LEAST_REQUEST,
    "iphash": _KIND.RING_HASH,
}
_IP_HASH: Final = "iphash"
_FORWARDED: Final = "x-forwarded-for"
_OPTIONS: Final = ("header", "from", "recursive")


def _mode(balance: LoadBalance) -> str:
    return balance.mode.lower().replace("_", "")


def lb_policy(backend: Backend) -> int:
    """Return how Envoy chooses an endpoint of a backend's cluster."""
    balance = backend.route.settings.load_balance
    kind = _KIND.RING_HASH if balance.sticky else _MODES.get(_mode(balance), _KIND.ROUND_ROBIN)
    return int(kind)


def hash_policies(backend: Backend) -> list[Any]:
    """Return what Envoy hashes to choose an endpoint for an HTTP request; empty if it hashes nothing."""
    balance = backend.route.settings.load_balance
    if backend.backing != "own":
        return []
    if balance.sticky:
        cookie = _POLICY.Cookie(name="pilotage_member", ttl=seconds(balance.sticky_max_age or 3600), path="/")
        cookie.attributes.add(name="SameSite", value="Lax")
        return [_POLICY(cookie=cookie)]
    if _mode(balance) != _IP_HASH:
        return []
    source = _POLICY(connection_properties=_POLICY.ConnectionProperties(source_ip=True))
    header = _header(balance)
    if header in ("", _FORWARDED):  # Envoy takes the address from X-Forwarded-For before it looks for a route
        return [source]
    # Envoy has removed the header from all clients but the trusted proxies.
    return [_POLICY(header=_POLICY.Header(header_name=header), terminal=True), source]


def tcp_hash(backend: Backend) -> list[Any]:
    """Return what Envoy hashes to choose an endpoint for a tcp connection."""
    return [hash_policy_pb2.HashPolicy(source_ip=hash_policy_pb2.HashPolicy.SourceIp())] if _hashes(backend) else []


def udp_hash(backend: Backend) -> list[Any]:
    """Return what Envoy hashes to choose an endpoint for the datagrams of a client."""
    return [udp_proxy_pb2.UdpProxyConfig.HashPolicy(source_ip=True)] if _hashes(backend) else []


def _hashes(backend: Backend) -> bool:
    return lb_policy(backend) == int(_KIND.RING_HASH)


def _header(balance: LoadBalance) -> str:
    """Return the header that has the client's address; ``""`` if the options are not usable."""
    options = _read_options(balance)
    return options["header"].lower() if isinstance(options.get("header"), str) else ""


def _read_options(balance: LoadBalance) -> dict[str, Any]:
    return {str(key).lower().replace("_", ""): value for key, value in (balance.options or {}).items()}


# ---- problems --------------------------------------------------------------------------------------------------------


def balance_problems(route: Route, options: GatewayOptions) -> list[Problem]:
    """Return warnings for settings of the load balancing that have no effect."""
    balance = route.settings.load_balance
    if balance == type(balance)():
        return []
    found = [*_mode_problems(route), *_options_problems(route, options)]
    return [msgspec.structs.replace(each, path=f"load_balance.{each.path}", severity="warning") for each in found]


def _mode_problems(route: Route) -> Iterator[Problem]:
    balance = route.settings.load_balance
    if _mode(balance) not in _MODES:
        hint = did_you_mean(_mode(balance), ("round_robin", "least_conn", "ip_hash"))
        message = f"{shorten_value(balance.mode)!r} is no mode, so requests are shared round-robin"
        yield Problem(message=message, hint=hint or "write round_robin, least_conn or ip_hash", path="mode")
    if route.is_stream and balance.sticky:
        message = f"{route.scheme} has no cookies, so clients are told apart by their address"
        yield Problem(message=message, hint="write mode: ip_hash instead", path="sticky")
    if balance.sticky_max_age and (route.is_stream or not balance.sticky):
        yield Problem(message="has no effect without sticky on an HTTP route", hint="remove it", path="sticky_max_age")


def _options_problems(route: Route, options: GatewayOptions) -> Iterator[Problem]:
    balance = route.settings.load_balance
    if not balance.options:
        return
    if _mode(balance) != _IP_HASH or balance.sticky or route.is_stream:
        only = "options have an effect only for HTTP routes with mode ip_hash and without sticky"
        yield Problem(message=only, hint="remove them", path="options")
        return
    given = _read_options(balance)
    if unknown := given.keys() - set(_OPTIONS):
        hint = did_you_mean(min(unknown), _OPTIONS) or "ip_hash has the options header, from and recursive"
        yield Problem(message=f"{len(unknown)} of the options are unknown", hint=hint, path="options")
    header = given.get("header", _FORWARDED)
    if not isinstance(header, str) or not _is_removed(header.lower()):
        hint = "use X-Forwarded-For, X-Real-IP, True-Client-IP or CF-Connecting-IP"
        yield Problem(message="clients could set this header to anything", hint=hint, path="options.header")
    elif not _is_trusted(given.get("from"), options):
        message = "the gateway believes such headers only if they come from its trusted proxies"
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
