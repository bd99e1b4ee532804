"""Builds Envoy clusters: the endpoints of a backend and the protocol spoken with them. Pure.

A cluster contains its endpoints. Plain routes share ORIGINAL_DST clusters, which connect to the address in the metadata
of each route's virtual host. Clients cannot choose this address.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.core.v3 import (
    address_pb2,
    base_pb2,
    health_check_pb2,
    protocol_pb2,
    socket_option_pb2,
)
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.extensions.clusters.common.dns.v3 import dns_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.matcher.v3 import string_pb2

from pilotage.core.addresses import is_address
from pilotage.routes.route import Endpoint
from pilotage.xds.agents import address_of, speak_through_agents, target_metadata
from pilotage.xds.backend import Backend, Member
from pilotage.xds.cluster_names import UNREAD
from pilotage.xds.label_files import data_source
from pilotage.xds.load_balancing import lb_policy
from pilotage.xds.proxy_protocol import relaying
from pilotage.xds.resources import CLUSTER, OFF, Resource, number, packed, resource, seconds, socket
from pilotage.xds.retries import shared_retries
from pilotage.xds.usual_routes import usual_cluster

if TYPE_CHECKING:
    from google.protobuf import any_pb2

    from pilotage.xds.options import GatewayOptions

__all__ = [
    "GRPC_SUFFIX",
    "NO_ENDPOINT",
    "PROBED",
    "SAFE_SUFFIX",
    "SHARED",
    "is_probed",
    "own_clusters",
    "shared_clusters",
]

SHARED: Final = {"http": "shared/http", "https": "shared/https"}
GRPC_SUFFIX: Final = "/h2"
"""Requests to https targets use HTTP/1.1, which carries WebSockets. gRPC has a second cluster, which uses HTTP/2."""

PROBED: Final = "probed"
"""Locality of endpoints in clusters with health checks. Without checks, endpoints have none and all look healthy."""

SAFE_SUFFIX: Final = "/safe"
"""Plain routes share a second cluster for requests that are safe to repeat, because the cluster sets the retries."""

_NO_LIMIT: Final = 1_000_000
_BUFFERED: Final = 256 * 1024
"""Maximum bytes of a response that are buffered for the client. With Envoy's recommended 32 KiB, a download would take
twice the CPU time."""
_IDLE: Final = 4.0  # below 5 s, the usual keep-alive timeout of application servers
_NOWHERE: Final = "/dev/null/no-endpoint"
_TLS: Final = common_pb2.TlsParameters
_VERSIONS: Final = {
    "TLSv1.0": _TLS.TLSv1_0,
    "TLSv1.1": _TLS.TLSv1_1,
    "TLSv1.2": _TLS.TLSv1_2,
    "TLSv1.3": _TLS.TLSv1_3,
}
_SILENT: Final = ("192.0.2.1", 9)
"""Address that no host has (RFC 5737). On the loopback interface Linux drops packets to it, so every attempt to connect
takes ``_SILENT_ATTEMPT`` seconds. This matters for requests sent before Envoy knew of a restart: they have few retries.
"""
_SILENT_ATTEMPT: Final = 1.5
NO_ENDPOINT: Final = frozenset({_NOWHERE, f"{_SILENT[0]}:{_SILENT[1]}"})  # in a cluster that has lost its endpoints
_ON_LOOPBACK: Final = address_pb2.BindConfig(
    socket_options=[
        socket_option_pb2.SocketOption(
            description="SO_BINDTODEVICE",
            level=1,
            name=25,
            buf_value=b"lo",
            state=socket_option_pb2.SocketOption.STATE_PREBIND,
        )
    ]
)
# A target that has vanished is noticed within six minutes. Idle connections of tcp routes have no other limit.
_KEEPALIVE: Final = address_pb2.TcpKeepalive(
    keepalive_time=number(180), keepalive_interval=number(60), keepalive_probes=number(3)
)
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_NAMED: Final = cluster_pb2.Cluster.CustomClusterType(
    name="envoy.cluster.dns",
    typed_config=packed(dns_cluster_pb2.DnsCluster(dns_lookup_family=dns_pb2.ALL, respect_dns_ttl=True)),
)
"""Discovery for host names in routes from files: every address of the name is an endpoint, for the time that the name
server gives. pilotage resolves names from labels itself and checks every address (:mod:`pilotage.xds.target_guard`)."""

_SYSTEM_CA: Final = "/etc/ssl/certs/ca-certificates.crt"


def shared_clusters(options: GatewayOptions) -> list[Resource]:
    """Return the clusters that plain routes share, for http and for https without verification."""
    return [
        _shared(scheme, name + suffix, options)
        for scheme, name in SHARED.items()
        for suffix in (("", SAFE_SUFFIX) if scheme == "http" else ("", SAFE_SUFFIX, GRPC_SUFFIX))
    ]


def _shared(scheme: str, name: str, options: GatewayOptions) -> Resource:
    h2 = name.endswith(GRPC_SUFFIX)
    cluster = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.ORIGINAL_DST,
        lb_policy=cluster_pb2.Cluster.CLUSTER_PROVIDED,
        connect_timeout=seconds(options.attempt_timeout()),
        per_connection_buffer_limit_bytes=number(_BUFFERED),
        circuit_breakers=_breakers(options.max_target_connections),
    )
    protocol = http_protocol_options_pb2.HttpProtocolOptions(
        retry_policy=shared_retries(options, safe=name.endswith(SAFE_SUFFIX))
    )
    protocol.MergeFrom(_protocol(h2=h2))
    _speak(cluster, packed(protocol))
    if scheme == "https":
        cluster.transport_socket.CopyFrom(_tls(tls_pb2.UpstreamTlsContext(), h2=h2))
    return resource(CLUSTER, name, cluster)


def own_clusters(backend: Backend, options: GatewayOptions) -> list[Resource]:
    """Return the clusters of a backend. An https backend has a second cluster for gRPC."""
    if backend.backing != "own":
        return []
    if (usual := usual_cluster(backend, options, _usual)) is not None:
        return [usual]
    if backend.gate is not None and backend.gate.relay:
        backend = msgspec.structs.replace(backend, members=(Member(Endpoint("127.0.0.1", backend.gate.relay)),))
    suffixes = ("", GRPC_SUFFIX) if backend.route.scheme == "https" and backend.agent is None else ("",)
    return [_own(backend, options, name, suffix) for name in _existing(backend) for suffix in suffixes]


def _usual(backend: Backend, options: GatewayOptions) -> bytes:
    return _own(backend, options, backend.cluster, "").body


def _existing(backend: Backend) -> tuple[str, ...]:
    """Return the names of a backend's clusters, except for the current cluster while requests wait for it."""
    names = backend.names
    if names is None:
        return (backend.key,)
    return names.others if names.absent else (names.current, *names.others)


def _own(backend: Backend, options: GatewayOptions, name: str, suffix: str) -> Resource:
    route, settings = backend.route, backend.route.settings
    named = backend.agent is None and not all(is_address(member.host) for member in backend.reachable)
    if route.scheme == "fileserver":
        return _file_server(backend, options, name)
    cluster = cluster_pb2.Cluster(
        name=name + suffix,
        alt_stat_name=UNREAD,
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=seconds(options.attempt_timeout(static=route.is_static)),
        per_connection_buffer_limit_bytes=number(_BUFFERED),
        lb_policy=lb_policy(backend),
        circuit_breakers=_limits(backend, options),
        load_assignment=_assignment(backend, name + suffix),
    )
    if _is_silent(backend):
        cluster.connect_timeout.CopyFrom(seconds(_SILENT_ATTEMPT))
        cluster.upstream_bind_config.CopyFrom(_ON_LOOPBACK)
    elif named:
        cluster.cluster_type.CopyFrom(_NAMED)  # replaces the discovery type
        cluster.wait_for_warm_on_init.CopyFrom(OFF)
    h2 = bool(suffix) or route.scheme == "h2c"
    if backend.proxy is not None:
        speak_through_agents(cluster, backend)
    elif not route.is_stream:
        _speak(cluster, _packed_protocol(h2=h2))
    elif route.scheme == "tcp" and backend.agent is None:
        cluster.upstream_connection_options.tcp_keepalive.CopyFrom(_KEEPALIVE)
    if route.scheme == "https" and backend.agent is None:
        cluster.transport_socket.CopyFrom(_tls(_context(backend), h2=bool(suffix)))
    if settings.relay_proxy_protocol_header:
        cluster.transport_socket.CopyFrom(relaying())
    checks = _checks(backend)
    answers = (backend.name,)
    plain = resource(CLUSTER, cluster.name, cluster, answers=answers)
    if checks is None:
        return plain
    _probe(cluster, checks, backend, h2=h2)
    return resource(CLUSTER, cluster.name, cluster, answers=answers, first=plain)


def _file_server(backend: Backend, options: GatewayOptions, name: str) -> Resource:
    """Return the cluster for the daemon's file server."""
    pipe = address_pb2.Address(pipe=address_pb2.Pipe(path=options.files_socket or _NOWHERE))
    endpoint = endpoint_components_pb2.LbEndpoint(endpoint=endpoint_components_pb2.Endpoint(address=pipe))
    found = [endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=[endpoint])]
    cluster = cluster_pb2.Cluster(
        name=name,
        alt_stat_name=UNREAD,
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=seconds(options.attempt_timeout()),
        per_connection_buffer_limit_bytes=number(_BUFFERED),
        circuit_breakers=_limits(backend, options),
        load_assignment=endpoint_pb2.ClusterLoadAssignment(cluster_name=name, endpoints=found),
    )
    _speak(cluster, _packed_protocol(h2=False))
    return resource(CLUSTER, name, cluster, answers=(backend.name,))


def _assignment(backend: Backend, name: str) -> Any:
    endpoints = [
        endpoint_components_pb2.LbEndpoint(
            endpoint=endpoint_components_pb2.Endpoint(
                address=address_of(backend, member),
                hostname=member.endpoint.host if member.address else "",  # results of probes appear under this name
            ),
            load_balancing_weight=number(max(1, member.weight)),
            metadata=target_metadata(member.agent, member) if member.agent and backend.proxy else None,
        )
        for member in backend.reachable
    ]
    if not backend.reachable:
        # Requests in flight when the last endpoint disappears are retried until the next one arrives. Retrying needs an
        # endpoint: a path on which nothing can listen, or an address that does not answer.
        pipe = address_pb2.Address(pipe=address_pb2.Pipe(path=_NOWHERE))
        nowhere = socket(*_SILENT) if _is_silent(backend) else pipe
        endpoint = endpoint_components_pb2.Endpoint(address=nowhere)
        endpoints = [endpoint_components_pb2.LbEndpoint(endpoint=endpoint)]
    return endpoint_pb2.ClusterLoadAssignment(
        cluster_name=name,
        endpoints=[endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=endpoints)],
    )


def _is_silent(backend: Backend) -> bool:
    """Return whether requests in progress wait at a silent address, because no member answers and ``hold`` is 0."""
    return not backend.reachable and not backend.route.settings.hold


@lru_cache(maxsize=256)
def _breakers(most: int, connections: int = _NO_LIMIT, *, waiting: int = _NO_LIMIT) -> Any:
    """Return a cluster's circuit breakers, which replace Envoy's default limits of 1,024.

    Args:
        most: connections to one endpoint.
        connections: connections to all endpoints; for udp, the number of clients.
        waiting: requests, or client connections, that wait for a connection.

    """
    limits = circuit_breaker_pb2.CircuitBreakers
    thresholds = limits.Thresholds(
        max_connections=number(connections),
        max_pending_requests=number(waiting),
        max_requests=number(_NO_LIMIT),
        max_retries=number(_NO_LIMIT),
    )
    return limits(thresholds=[thresholds], per_host_thresholds=[limits.Thresholds(max_connections=number(most))])


def _limits(backend: Backend, options: GatewayOptions) -> Any:
    most = options.max_target_connections
    if backend.route.scheme == "udp":
        each = 2 if backend.streams_datagrams else 1  # Envoy counts a session and its stream
        return _breakers(most, each * options.max_udp_clients)
    if backend.route.scheme == "tcp":  # a client that waits for a connection takes as many resources as a connected one
        return _breakers(min(backend.route.settings.max_conns_per_host or most, most), most, waiting=most)
    return _breakers(min(backend.route.settings.max_conns_per_host or most, most))


def _speak(cluster: Any, protocol: any_pb2.Any) -> None:
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(protocol)


@lru_cache(maxsize=8)
def _packed_protocol(*, h2: bool, idle: float = _IDLE) -> any_pb2.Any:
    return packed(_protocol(h2=h2, idle=idle))


def _protocol(*, h2: bool, idle: float = _IDLE) -> Any:
    explicit = http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig()
    if h2:
        explicit.http2_protocol_options.CopyFrom(protocol_pb2.Http2ProtocolOptions(allow_connect=True))
    else:
        explicit.http_protocol_options.CopyFrom(protocol_pb2.Http1ProtocolOptions())
    common = protocol_pb2.HttpProtocolOptions(
        idle_timeout=seconds(idle), max_headers_count=number(1000), max_response_headers_kb=number(256)
    )
    return http_protocol_options_pb2.HttpProtocolOptions(
        explicit_http_config=explicit, common_http_protocol_options=common
    )


# ---- TLS to the target -------------------------------------------------------------------------------------------


def _tls(context: Any, *, h2: bool) -> Any:
    context.common_tls_context.alpn_protocols[:] = ["h2"] if h2 else ["http/1.1"]
    return base_pb2.TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))


def _context(backend: Backend) -> Any:
    """Return the TLS context for a target. As in Go, the certificate must match the server name that Envoy sends."""
    settings = backend.route.settings
    common = tls_pb2.CommonTlsContext()
    given = settings.ssl_server_name
    hosts = sorted({member.endpoint.host for member in backend.members}) or [backend.route.host]
    name = "" if given == "off" else hosts[0] if given in {None, "", "on"} else str(given)
    if not settings.no_tls_verify:
        checks = common.validation_context
        if settings.ssl_trusted_certificate:
            checks.trusted_ca.CopyFrom(data_source(backend, settings.ssl_trusted_certificate))
        else:
            checks.trusted_ca.filename = _SYSTEM_CA
        kinds = common_pb2.SubjectAltNameMatcher
        for expected in [name] if name not in {"", *hosts} else hosts:
            san = kinds.IP_ADDRESS if is_address(expected) else kinds.DNS
            checks.match_typed_subject_alt_names.add(san_type=san, matcher=string_pb2.StringMatcher(exact=expected))
    if settings.ssl_certificate:
        own = common.tls_certificates.add()
        own.certificate_chain.CopyFrom(data_source(backend, settings.ssl_certificate))
        own.private_key.CopyFrom(data_source(backend, settings.ssl_certificate_key))
    if settings.ssl_protocols:
        spoken = sorted(_VERSIONS[version] for version in settings.ssl_protocols)
        common.tls_params.tls_minimum_protocol_version = spoken[0]
        common.tls_params.tls_maximum_protocol_version = spoken[-1]
    context = tls_pb2.UpstreamTlsContext(common_tls_context=common)
    if name and not is_address(name):  # an IP address is not a valid server name (RFC 6066)
        context.sni = name
    return context


# ---- health checks --------------------------------------------------------------------------------------------------


def is_probed(backend: Backend) -> bool:
    """Return whether Envoy runs health checks for a backend. Health checks run by engines or agents do not count."""
    return bool(backend.reachable) and backend.route.probed and backend.agent is None


def _checks(backend: Backend) -> Any:
    """Return the health check that labels configure; ``None`` if there is none."""
    if not is_probed(backend):
        return None
    health = backend.route.settings.healthcheck
    probe = health_check_pb2.HealthCheck(
        timeout=seconds(health.timeout),
        interval=seconds(health.interval),
        no_traffic_interval=seconds(health.interval),
        unhealthy_threshold=number(health.failures),
        healthy_threshold=number(1),
        always_log_health_check_failures=False,
    )
    if backend.route.scheme == "tcp":
        probe.tcp_health_check.CopyFrom(health_check_pb2.HealthCheck.TcpHealthCheck())
        return probe
    http = probe.http_health_check
    http.path = health.path
    http.method = base_pb2.GET if health.use_get else base_pb2.HEAD
    # Any response of a running server counts as healthy, except an error of the server itself (LABELS II.6.6).
    http.expected_statuses.add(start=200, end=500)
    http.retriable_statuses.add(start=500, end=600)  # for Envoy, one such response would be enough
    if backend.route.scheme == "h2c":
        http.codec_client_type = 1
    else:  # also for HTTP/2 backends: the health check uses HTTP/1.1 and must not negotiate HTTP/2
        probe.tls_options.alpn_protocols.append("http/1.1")
    return probe


_LONG: Final = 5.0


def _probe(cluster: Any, checks: Any, backend: Backend, *, h2: bool) -> None:
    """Add health checks to an otherwise complete cluster."""
    cluster.health_checks.append(checks)
    timeout = backend.route.settings.healthcheck.timeout
    if timeout > _LONG and not backend.route.is_stream:
        # Envoy considers a connection idle while a health check waits for its response, and closes it after _IDLE. With
        # the usual timeout, that is acceptable: it only makes a slow health check fail. Keeping connections open for
        # longer could cost a request, because the endpoint may close one first.
        _speak(cluster, _packed_protocol(h2=h2, idle=timeout + 1))
    # By default Envoy uses all endpoints, including failing ones, once half of them fail.
    cluster.common_lb_config.healthy_panic_threshold.value = 1
    endpoints = cluster.load_assignment.endpoints[0]
    endpoints.locality.sub_zone = PROBED
    for endpoint, member in zip(endpoints.lb_endpoints, backend.members, strict=True):
        # By default Envoy sends the cluster name as Host, which servers reject before they look at the path.
        endpoint.endpoint.health_check_config.hostname = member.endpoint.address
