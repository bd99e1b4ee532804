"""Builds the HTTP listeners, which are independent of any route, and parts of other listeners. Pure."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import (
    address_pb2,
    extension_pb2,
    protocol_pb2,
    socket_option_pb2,
    substitution_format_string_pb2,
)
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.echo.v3 import echo_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.http.original_ip_detection.xff.v3 import xff_pb2

from pilotage.xds.client_checks import records_profile
from pilotage.xds.client_limit import add_client_limit
from pilotage.xds.client_profiles import NO_CLIENTS
from pilotage.xds.failure_log import failure_log
from pilotage.xds.filters import http_filters, scope_settings
from pilotage.xds.local_replies import local_replies
from pilotage.xds.own_ports import PORT_HEADER
from pilotage.xds.request_checks import forget_headers, set_header
from pilotage.xds.resources import LISTENER, OFF, ON, Resource, number, packed, resource, seconds, socket
from pilotage.xds.route_logs import REQUEST_FIELDS, route_logs
from pilotage.xds.route_stats import route_stats
from pilotage.xds.rule_lines import line_logs
from pilotage.xds.scoped_routes import https_redirect
from pilotage.xds.server_names import (
    ACME_PROTOCOL,
    NameGroup,
    ads,
    chain_by_address,
    chain_matcher,
    chain_named,
    challenge_chain,
    name_groups,
    profile_chain,
    tls_socket,
)
from pilotage.xds.upgrades import ignored_upgrades, upgrade_configs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.xds.client_profiles import ClientNames
    from pilotage.xds.options import GatewayOptions

__all__ = [
    "BUFFERED",
    "KEEPALIVE",
    "certificate_groups",
    "encrypt",
    "http_listener",
    "http_listeners",
    "inspect_names",
]

_HEADER_KILOBYTES: Final = 60
_MOST_HEADERS: Final = 1000
BUFFERED: Final = 32 * 1024  # bytes of a request that wait for the target
_SLOWEST_GREETING: Final = 5.0  # seconds for the first message of the handshake, which Envoy does not shorten
_SLOWEST_HEADERS: Final = 10.0  # seconds for the handshake, and again until the request has a route
_SLOWEST_READER: Final = 300.0  # seconds until a client that does not read a finished response is cut off
_MOST_STREAMS: Final = 100
# What a client may send in advance on HTTP/2. Envoy's advice is 64 KiB for a stream, which limits an upload over a
# connection with a round trip of 100 ms to 5 Mbit/s. The limit for the whole connection bounds the memory.
_STREAM_WINDOW: Final = 256 * 1024
_CONNECTION_WINDOW: Final = 1024 * 1024
_MANAGER: Final = http_connection_manager_pb2.HttpConnectionManager


# Linux's numbers, because Envoy runs there; a pure module does not import ``socket``.
_SOL_SOCKET, _SO_KEEPALIVE, _IPPROTO_TCP, _TCP_KEEPIDLE, _TCP_KEEPINTVL, _TCP_KEEPCNT = 1, 9, 6, 4, 5, 6


_HTTP_PROTOCOLS: Final = ("h2", "http/1.1")
_EVERYTHING: Final = NameGroup((), ())
_TRUSTED: Final = "trusted"
_EVERYBODY: Final = "everybody"


def http_listeners(
    options: GatewayOptions,
    automatic: Iterable[NameGroup] = (),
    challenges: Iterable[str] = (),
    clients: ClientNames = NO_CLIENTS,
) -> list[Resource]:
    """Return the configured HTTP listeners: ``http``, ``https``, both or neither.

    Args:
        options: the gateway's settings.
        automatic: the certificates that pilotage obtains, with their names. The operator's files take precedence.
        challenges: the names with TLS-ALPN-01 challenges.
        clients: the names whose connections ask for client certificates.

    """
    found = []
    if options.http_port:
        found.append(http_listener("http", options.http_address, options.http_port, options))
    groups = certificate_groups(options, automatic)
    if options.serves_https and groups:
        place, names = (options.https_address, options.https_port), sorted(challenges)
        found.append(http_listener("https", *place, options, groups=groups, challenges=names, clients=clients))
    return [resource(LISTENER, message.name, message) for message in found]


def certificate_groups(options: GatewayOptions, automatic: Iterable[NameGroup] = ()) -> list[NameGroup]:
    """Return the groups of all certificates of the gateway. See :func:`http_listeners` for the arguments."""
    groups = name_groups(options.certificates)
    taken = {name for group in groups for name in group.names}
    for group in automatic:
        names = tuple(name for name in group.names if name not in taken)
        groups.append(msgspec.structs.replace(group, names=names))
    return groups


def http_listener(
    name: str,
    host: str,
    port: int,
    options: GatewayOptions,
    *,
    groups: list[NameGroup] | None = None,
    challenges: list[str] | None = None,
    clients: ClientNames = NO_CLIENTS,
    scope: str = "",
) -> listener_pb2.Listener:
    """Return a listener for HTTPS or, without groups of certificates, for plain HTTP."""
    if groups is None:
        return _listener(name, host, port, _chains(options, https=False, scope=scope), options)
    wanted: dict[tuple[str, str], None] = {}

    def choose(chain: str, profile: str) -> Any:
        wanted[chain, profile] = None
        return _chain_for(profile_chain(chain, profile), options)

    matcher = chain_matcher(groups, choose, challenges or (), clients)
    chains = []
    for group in groups:
        for profile in ["", *sorted(profile for chain, profile in wanted if profile and chain == group.chain)]:
            chains += _chains(options, https=True, group=group, profile=profile, scope=scope)
    chains += map(_challenge, challenges or ())
    return _listener(name, host, port, chains, options, matcher=matcher)


def _chains(
    options: GatewayOptions, *, https: bool, group: NameGroup = _EVERYTHING, profile: str = "", scope: str = ""
) -> list[Any]:
    """Return the filter chains for a group of server names, or for plain HTTP.

    Trusted proxies have a separate chain, because only their headers are trusted.
    """
    everybody = listener_components_pb2.FilterChain(filters=[_manager(options, https=https, scope=scope)])
    chains = [everybody]
    if options.trusted_proxies:
        manager = _manager(options, https=https, trusted=True, scope=scope)
        trusted = listener_components_pb2.FilterChain(filters=[manager])
        if not https:
            trusted.filter_chain_match.source_prefix_ranges.extend(_networks(options))
        trusted.name, everybody.name = _TRUSTED, _EVERYBODY
        chains.insert(0, trusted)
    if https:
        for chain in chains:
            encrypt(chain, group, _HTTP_PROTOCOLS, profile)
            chain.name = f"{profile_chain(group.chain, profile)} {chain.name}".rstrip()
            if profile:
                chain.filters.insert(0, records_profile(profile))
    return chains


def encrypt(chain: Any, group: NameGroup, protocols: Iterable[str], profile: str = "") -> None:
    """Make a filter chain terminate TLS. See :meth:`NameGroup.transport_socket` for the other arguments."""
    chain.transport_socket.CopyFrom(group.transport_socket(protocols, profile))
    chain.transport_socket_connect_timeout.CopyFrom(seconds(_SLOWEST_HEADERS))


def _challenge(name: str) -> Any:
    """Return the filter chain for a TLS-ALPN-01 challenge.

    The authority closes the connection after the handshake. A filter that closes it would do so before the handshake.
    """
    name = challenge_chain(name)
    idle = listener_components_pb2.Filter(name="envoy.filters.network.echo", typed_config=packed(echo_pb2.Echo()))
    return listener_components_pb2.FilterChain(
        name=name,
        filters=[idle],
        transport_socket=tls_socket([name], [ACME_PROTOCOL]),
        transport_socket_connect_timeout=seconds(_SLOWEST_HEADERS),
    )


def _chain_for(chain: str, options: GatewayOptions) -> Any:
    """Return the action that selects a filter chain. Trusted proxies and other clients have different chains."""
    if not options.trusted_proxies:
        return chain_named(chain)
    return chain_by_address(_networks(options), f"{chain} {_TRUSTED}", f"{chain} {_EVERYBODY}")


def _networks(options: GatewayOptions) -> list[Any]:
    """Return the networks of trusted proxies without duplicates, because Envoy rejects duplicates."""
    networks = dict.fromkeys(ipaddress.ip_network(text, strict=False) for text in options.trusted_proxies)
    return [
        address_pb2.CidrRange(address_prefix=str(it.network_address), prefix_len=number(it.prefixlen))
        for it in networks
    ]


def _listener(
    name: str, host: str, port: int, chains: list[Any], options: GatewayOptions, *, matcher: Any = None
) -> listener_pb2.Listener:
    message = listener_pb2.Listener(
        name=name,
        address=socket(host, port),
        filter_chains=chains,
        filter_chain_matcher=matcher,
        per_connection_buffer_limit_bytes=number(BUFFERED),
        socket_options=KEEPALIVE,
    )
    if matcher is not None:
        inspect_names(message)
    add_client_limit(message, options)
    return message


def inspect_names(message: listener_pb2.Listener) -> None:
    """Let a listener read the server name from the first message of a TLS handshake."""
    inspect = listener_components_pb2.ListenerFilter(name="envoy.filters.listener.tls_inspector")
    inspect.typed_config.CopyFrom(packed(tls_inspector_pb2.TlsInspector()))
    message.listener_filters.append(inspect)
    message.listener_filters_timeout.CopyFrom(seconds(_SLOWEST_GREETING))


def _option(name: int, value: int, *, level: int = _IPPROTO_TCP) -> Any:
    state = socket_option_pb2.SocketOption.STATE_PREBIND
    return socket_option_pb2.SocketOption(level=level, name=name, int_value=value, state=state)


# Connections inherit these from their listener. A client that has vanished is noticed within six minutes.
KEEPALIVE: Final = [
    _option(_SO_KEEPALIVE, 1, level=_SOL_SOCKET),
    *(_option(_TCP_KEEPIDLE, 180), _option(_TCP_KEEPINTVL, 60), _option(_TCP_KEEPCNT, 3)),
]


@lru_cache(maxsize=64)
def _manager(options: GatewayOptions, *, https: bool, trusted: bool = False, scope: str = "") -> Any:
    """Return the connection manager of a listener, which all its chains share: do not modify it.

    ``scope`` is the listener's own scope, if it has one.
    """
    common = protocol_pb2.HttpProtocolOptions(
        max_headers_count=number(_MOST_HEADERS),
        idle_timeout=seconds(options.idle_timeout),
        # WSGI and CGI programs read Remote_User as Remote-User, which only an auth service may set.
        headers_with_underscores_action=protocol_pb2.HttpProtocolOptions.DROP_HEADER,
    )
    manager = _MANAGER(
        stat_prefix="https" if https else "http",
        http_filters=http_filters(options, https=https, trusted=trusted, own_port=bool(scope)),
        common_http_protocol_options=common,
        http_protocol_options=protocol_pb2.Http1ProtocolOptions(
            accept_http_10=True, allow_custom_methods=True, ignore_http_11_upgrade=ignored_upgrades()
        ),
        # WebSockets over HTTP/2 (RFC 8441) stay off: Envoy forwards them to HTTP/1.1 targets without Sec-WebSocket-Key,
        # and these refuse them (envoyproxy/envoy#8547). Browsers then use an HTTP/1.1 connection.
        http2_protocol_options=protocol_pb2.Http2ProtocolOptions(
            max_concurrent_streams=number(_MOST_STREAMS),
            initial_stream_window_size=number(_STREAM_WINDOW),
            initial_connection_window_size=number(_CONNECTION_WINDOW),
        ),
        max_request_headers_kb=number(_HEADER_KILOBYTES),
        # A request's route sets its own limit. Until then, this one limits the time for the headers, because receiving
        # a part of them does not restart it. A separate timer for headers would cost every request.
        stream_idle_timeout=seconds(_SLOWEST_HEADERS),
        stream_flush_timeout=seconds(_SLOWEST_READER),
        server_header_transformation=_MANAGER.PASS_THROUGH,
        # No client is internal: Envoy's own headers are removed from every client. Without a network here, Envoy would
        # trust all private ones. No request ever comes from this one.
        internal_address_config=_MANAGER.InternalAddressConfig(
            cidr_ranges=[address_pb2.CidrRange(address_prefix="255.255.255.255", prefix_len=number(32))]
        ),
        generate_request_id=OFF,
        # Slashes are neither merged nor decoded: targets may tell them apart, and no rule of ours depends on them.
        normalize_path=ON,
        path_with_escaped_slashes_action=_MANAGER.KEEP_UNCHANGED,
        upgrade_configs=upgrade_configs(),
        local_reply_config=local_replies(options),
        access_log=[*_access_log(options), *route_stats(), *failure_log(), *route_logs(), *line_logs()],
    )
    if trusted:
        _believe(manager, options)
    else:
        manager.use_remote_address.CopyFrom(ON)
    manager.early_header_mutation_extensions.append(forget_headers(trusted=trusted))
    if scope:
        manager.early_header_mutation_extensions.append(set_header(PORT_HEADER, scope))
        manager.scoped_routes.CopyFrom(_scoped(PORT_HEADER))
    elif options.redirect_to_https and options.serves_https and not https:
        route = route_components_pb2.Route(
            match=route_components_pb2.RouteMatch(prefix="/"), redirect=https_redirect(options)
        )
        everything = route_components_pb2.VirtualHost(name="redirect", domains=["*"], routes=[route])
        redirect = route_pb2.RouteConfiguration(
            name="redirect",
            virtual_hosts=[everything],
            typed_per_filter_config=scope_settings(plain=False),
        )
        manager.route_config.CopyFrom(redirect)
    else:
        manager.scoped_routes.CopyFrom(_scoped(":authority", "."))
    return listener_components_pb2.Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=packed(manager)
    )


def _scoped(name: str, separator: str = "") -> Any:
    """Return the settings with which a request's scope is the value of a header, up to a separator if given."""
    kinds = http_connection_manager_pb2.ScopedRoutes
    builder = kinds.ScopeKeyBuilder.FragmentBuilder
    extractor = builder.HeaderValueExtractor(name=name, element_separator=separator, index=0)
    return kinds(
        name="pilotage",
        scope_key_builder=kinds.ScopeKeyBuilder(fragments=[builder(header_value_extractor=extractor)]),
        rds_config_source=ads(),
        scoped_rds=http_connection_manager_pb2.ScopedRds(scoped_rds_config_source=ads()),
    )


def _believe(manager: Any, options: GatewayOptions) -> None:
    """Configure a connection manager to read the client's address from the headers of trusted proxies."""
    trusted = xff_pb2.XffTrustedCidrs(cidrs=_networks(options))
    message = xff_pb2.XffConfig(xff_trusted_cidrs=trusted, skip_xff_append=OFF)
    manager.original_ip_detection_extensions.append(
        extension_pb2.TypedExtensionConfig(name="envoy.http.original_ip_detection.xff", typed_config=packed(message))
    )


def _access_log(options: GatewayOptions) -> list[Any]:
    if not options.access_log:
        return []
    message: Any
    if options.access_log == "-":
        message = stream_pb2.StdoutAccessLog()
        name = "envoy.access_loggers.stdout"
    else:
        message = file_pb2.FileAccessLog(path=options.access_log)
        name = "envoy.access_loggers.file"
    message.log_format.CopyFrom(_LOG_FORMAT)
    return [accesslog_pb2.AccessLog(name=name, typed_config=packed(message))]


_LOG_FORMAT: Final = substitution_format_string_pb2.SubstitutionFormatString(
    json_format={
        **REQUEST_FIELDS,
        "path": "%REQ(:PATH)%",
        "why": "%RESPONSE_CODE_DETAILS%",
        "target": "%UPSTREAM_HOST%",
        "target_tls": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    }
)
