"""Builds the settings by which the members of a pool share requests: mode, sticky clients and hashing. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.udp.udp_proxy.v3 import udp_proxy_pb2
from envoy.type.v3 import hash_policy_pb2

from pilotage.xds.balance_problems import FORWARDED, IP_HASH, mode_of, read_options
from pilotage.xds.resources import seconds

if TYPE_CHECKING:
    from pilotage.routes.schema import LoadBalance
    from pilotage.xds.backend import Backend

__all__ = ["hash_policies", "lb_policy", "tcp_hash", "udp_hash"]

_KIND: Final = cluster_pb2.Cluster
_POLICY: Final = route_components_pb2.RouteAction.HashPolicy
_MODES: Final = {
    "": _KIND.ROUND_ROBIN,
    "roundrobin": _KIND.ROUND_ROBIN,
    "leastconn": _KIND.LEAST_REQUEST,
    "iphash": _KIND.RING_HASH,
}


def lb_policy(backend: Backend) -> int:
    """Return how Envoy chooses an endpoint of a backend's cluster."""
    balance = backend.route.settings.load_balance
    kind = _KIND.RING_HASH if balance.sticky else _MODES.get(mode_of(balance), _KIND.ROUND_ROBIN)
    return int(kind)


def hash_policies(backend: Backend) -> list[Any]:
    """Return the hash policies by which Envoy chooses an endpoint for an HTTP request; empty if it needs none."""
    balance = backend.route.settings.load_balance
    if backend.backing != "own":
        return []
    if balance.sticky:
        cookie = _POLICY.Cookie(name="pilotage_member", ttl=seconds(balance.sticky_max_age or 3600), path="/")
        cookie.attributes.add(name="SameSite", value="Lax")
        return [_POLICY(cookie=cookie)]
    if mode_of(balance) != IP_HASH:
        return []
    if backend.route_policy.address_from is not None:  # the route's own script sets the header
        return [_POLICY(header=_POLICY.Header(header_name=FORWARDED))]
    source = _POLICY(connection_properties=_POLICY.ConnectionProperties(source_ip=True))
    header = _header(balance)
    if header in ("", FORWARDED):  # Envoy takes the address from X-Forwarded-For before it looks for a route
        return [source]
    # Envoy has removed the header from all clients but the trusted proxies.
    return [_POLICY(header=_POLICY.Header(header_name=header), terminal=True), source]


def tcp_hash(backend: Backend) -> list[Any]:
    """Return the hash policies by which Envoy chooses an endpoint for a tcp connection."""
    return [hash_policy_pb2.HashPolicy(source_ip=hash_policy_pb2.HashPolicy.SourceIp())] if _hashes(backend) else []


def udp_hash(backend: Backend) -> list[Any]:
    """Return the hash policies by which Envoy chooses an endpoint for the datagrams of a client."""
    return [udp_proxy_pb2.UdpProxyConfig.HashPolicy(source_ip=True)] if _hashes(backend) else []


def _hashes(backend: Backend) -> bool:
    return lb_policy(backend) == int(_KIND.RING_HASH)


def _header(balance: LoadBalance) -> str:
    """Return the name of the header with the client's address; ``""`` if the options do not name one."""
    options = read_options(balance)
    return options["header"].lower() if isinstance(options.get("header"), str) else ""
