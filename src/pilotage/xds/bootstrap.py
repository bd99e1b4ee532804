"""Builds the bootstrap configuration of an Envoy: the address of the control plane and little else. Pure."""

from __future__ import annotations

from typing import Any, Final

from pilotage.core.addresses import is_address
from pilotage.xds.client_limit import CLIENT_LIMIT
from pilotage.xds.cluster_names import UNREAD
from pilotage.xds.filters import CONTROL_CLUSTER
from pilotage.xds.overload import Limits, overload_manager
from pilotage.xds.route_stats import DURATION_BUCKETS, EXCLUDED, STATS
from pilotage.xds.sleeping_routes import PAGES_CLUSTER

__all__ = ["build_bootstrap"]

_HTTP2: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


_RELEASED: Final = 32 << 20
"""Bytes of free memory that Envoy returns to the system each second."""

_LARGEST_REGEX: Final = 2_000
"""Maximum size of a compiled regex that Envoy accepts. The default of 100 is too small for the regex that matches all
headers that clients may not send. With several regexes, Envoy would go through all headers of a request for each of
them."""


def build_bootstrap(
    xds_address: str,
    node_id: str = "pilotage",
    *,
    tls: dict[str, str] | None = None,
    admin: str = "",
    limits: Limits | None = None,
    pages: str = "",
    client_limit: str = "",
) -> dict[str, Any]:
    """Return the bootstrap configuration of an Envoy, ready for JSON or YAML.

    Args:
        xds_address: address of the control plane, ``unix:/path`` or ``host:port``.
        node_id: node ID of this Envoy; it must be unique.
        tls: for a remote control plane, the paths ``ca``, ``certificate`` and ``key`` on Envoy's machine.
        admin: path of the admin interface's unix socket; ``""`` for none.
        limits: the resource limits of this Envoy; ``None`` for the defaults.
        pages: path of the unix socket that serves the events of loading pages; ``""`` for none.
        client_limit: folder in which Envoy finds the module that limits connections per client; ``""`` if it does not
            have the module.

    """
    cluster: dict[str, Any] = {
        "name": CONTROL_CLUSTER,
        "type": "STATIC" if xds_address.startswith("unix:") else "STRICT_DNS",
        "dns_lookup_family": "ALL",
        "connect_timeout": "2s",
        # Each request that waits for an endpoint occupies one call to this cluster.
        "circuit_breakers": {
            "thresholds": [{"max_requests": 1_000_000, "max_pending_requests": 1_000_000, "max_connections": 1_000_000}]
        },
        "load_assignment": {
            "cluster_name": CONTROL_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(xds_address)}}]}],
        },
        "typed_extension_protocol_options": {
            _HTTP2: {
                "@type": f"type.googleapis.com/{_HTTP2}",
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "10s", "timeout": "5s"}}
                },
            }
        },
    }
    if tls:
        cluster["transport_socket"] = _tls(xds_address, tls)
    configuration: dict[str, Any] = {
        "node": {"id": node_id, "cluster": "pilotage"},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [
                    {
                        "envoy_grpc": {
                            "cluster_name": CONTROL_CLUSTER,
                            "retry_policy": {"retry_back_off": {"base_interval": "0.05s", "max_interval": "0.5s"}},
                        }
                    }
                ],
            },
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
            "lds_config": {"ads": {}, "resource_api_version": "V3"},
        },
        "static_resources": {"clusters": [cluster]},
        # Building thousands of routes leaves free memory behind, which Envoy would keep.
        "memory_allocator_manager": {"bytes_to_release": _RELEASED, "memory_release_interval": "1s"},
        # A periodic flush of the statistics of thousands of clusters would delay changes.
        "stats_flush_on_admin": True,
        "stats_config": {
            "stats_matcher": {"exclusion_list": {"patterns": _unread()}},
            "histogram_bucket_settings": [
                {"match": {"prefix": f"{STATS}."}, "buckets": [float(it) for it in DURATION_BUCKETS]}
            ],
        },
        "layered_runtime": {
            "layers": [{"name": "pilotage", "static_layer": {"re2.max_program_size.error_level": _LARGEST_REGEX}}]
        },
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "cluster_manager": {
            "enable_deferred_cluster_creation": True,
            "load_stats_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": CONTROL_CLUSTER}}],
            },
        },
        "overload_manager": overload_manager(limits or Limits()),
    }
    if pages:
        configuration["static_resources"]["clusters"].append(_plain_cluster(PAGES_CLUSTER, pages))
    if client_limit:  # the path, because a running Envoy may not find the module if its path changes
        configuration["node"]["metadata"] = {CLIENT_LIMIT: client_limit}
    if admin:
        configuration["admin"] = {"address": {"pipe": {"path": admin, "mode": 0o600}}}
    return configuration


def _unread() -> list[dict[str, Any]]:
    """Return the matchers for statistics that Envoy must not keep, because nothing reads them."""
    return [{"prefix": f"cluster.{UNREAD}."}, {"safe_regex": {"regex": EXCLUDED}}]


def _plain_cluster(name: str, path: str) -> dict[str, Any]:
    """Return a cluster that speaks HTTP/1.1 on a unix socket."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": path}}}}
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": assignment}


def _address(text: str) -> dict[str, Any]:
    if text.startswith("unix:"):
        return {"pipe": {"path": text.removeprefix("unix:")}}
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


def _tls(address: str, paths: dict[str, str]) -> dict[str, Any]:
    """Return the TLS context for the control plane.

    The control plane's certificate must match its host name. A signature by the trusted CA is not enough, because the
    same CA signs the certificates of other Envoys.
    """
    name = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    host = address.rpartition(":")[0].strip("[]")
    numeric = is_address(host)
    expected = {"san_type": "IP_ADDRESS" if numeric else "DNS", "matcher": {"exact": host}}
    context: dict[str, Any] = {
        "@type": f"type.googleapis.com/{name}",
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": paths["certificate"]},
                    "private_key": {"filename": paths["key"]},
                }
            ],
            "validation_context": {
                "trusted_ca": {"filename": paths["ca"]},
                "match_typed_subject_alt_names": [expected],
            },
        },
    }
    if not numeric:  # an IP address is not a valid server name (RFC 6066)
        context["sni"] = host
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}
