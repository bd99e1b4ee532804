"""Builds the listeners of routes with ports of their own. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.udp.udp_proxy.session.http_capsule.v3 import http_capsule_pb2
from envoy.extensions.filters.udp.udp_proxy.v3 import route_pb2 as udp_route_pb2
from envoy.extensions.filters.udp.udp_proxy.v3 import udp_proxy_pb2
from xds.type.matcher.v3 import matcher_pb2

from pilotage.xds.client_limit import add_client_limit
from pilotage.xds.listeners import BUFFERED, KEEPALIVE, encrypt, http_listener, inspect_names
from pilotage.xds.load_balancing import udp_hash
from pilotage.xds.own_ports import listening_address, port_scope
from pilotage.xds.resources import LISTENER, OFF, Resource, number, packed, resource, socket
from pilotage.xds.server_names import NameGroup, chain_matcher, chain_named
from pilotage.xds.stream_filters import tcp_filters

if TYPE_CHECKING:
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions

__all__ = ["port_listener"]

_LARGEST_DATAGRAM: Final = 65535
_HELD_DATAGRAMS: Final = 64  # maximum number (and bytes) of a client's datagrams that wait for a tunnel
_HELD_BYTES: Final = 128 * 1024
_STREAM_PROTOCOLS: Final = tuple(
    "postgresql mqtt imap pop3 managesieve xmpp-client xmpp-server irc nntp ftp dot".split()
)
"""Protocols that tcp routes accept if a client asks for one (ALPN). Some clients, such as those of PostgreSQL without
its own negotiation of TLS, require this. HTTP is missing, because a target may support only one of its versions.
"""


def port_listener(backend: Backend, options: GatewayOptions, certificates: list[NameGroup]) -> Resource:
    """Return the listener of a route with a port of its own.

    The listener of an HTTP route speaks HTTPS if the gateway does. It depends only on the address, so that several
    routes can share it.

    Args:
        backend: the route's backend.
        options: the gateway's settings.
        certificates: the gateway's certificates, from :func:`certificate_groups`.

    """
    if options.serves_https and not certificates:  # a listener without them would not encrypt
        message = "no certificate of the gateway has a name"
        raise ValueError(message)
    groups = certificates if options.serves_https else None
    route = backend.route
    name, host, port = listening_address(route), route.bind or "0.0.0.0", route.port.listening  # noqa: S104
    if not route.is_stream:
        message = http_listener(name, host, port, options, groups=groups, scope=port_scope(name))
        message.enable_reuse_port.CopyFrom(OFF)
        return resource(LISTENER, name, message, answers=(backend.name,))
    message = listener_pb2.Listener(name=name, address=socket(host, port, udp=route.scheme == "udp"))
    if route.scheme == "udp":
        # By default Envoy drops datagrams of more than 1,500 bytes.
        message.udp_listener_config.downstream_socket_config.max_rx_datagram_size.value = _LARGEST_DATAGRAM
        message.listener_filters.append(_udp(backend))
    else:
        message.enable_reuse_port.CopyFrom(OFF)  # otherwise two Envoys could share a port and split its clients
        message.per_connection_buffer_limit_bytes.CopyFrom(number(BUFFERED))
        message.socket_options.extend(KEEPALIVE)
        if route.settings.tls_termination:
            _end_tls(message, backend, options, certificates)
        else:
            message.filter_chains.add().filters.extend(tcp_filters(backend, options))
        add_client_limit(message, options)
    may_be_absent = backend.gate is not None and not backend.gate.relay
    clusters = frozenset() if may_be_absent else frozenset({backend.cluster})
    return resource(LISTENER, name, message, clusters=clusters, answers=(backend.name,))


def _end_tls(
    message: listener_pb2.Listener, backend: Backend, options: GatewayOptions, groups: list[NameGroup]
) -> None:
    """Let the listener of a tcp route end TLS, with the gateway's certificates."""
    message.filter_chain_matcher.CopyFrom(chain_matcher(groups, lambda chain, _profile: chain_named(chain)))
    for group in groups:
        chain = message.filter_chains.add(name=group.chain)
        chain.filters.extend(tcp_filters(backend, options))
        encrypt(chain, group, _STREAM_PROTOCOLS)
    inspect_names(message)


def _udp(backend: Backend) -> Any:
    on_match = matcher_pb2.Matcher.OnMatch()
    on_match.action.name = "route"
    on_match.action.typed_config.CopyFrom(packed(udp_route_pb2.Route(cluster=backend.cluster)))
    proxy = udp_proxy_pb2.UdpProxyConfig(stat_prefix="udp", matcher=matcher_pb2.Matcher(on_no_match=on_match))
    proxy.hash_policies.extend(udp_hash(backend))
    proxy.upstream_socket_config.max_rx_datagram_size.value = _LARGEST_DATAGRAM
    if backend.streams_datagrams:
        tunneling = proxy.tunneling_config
        tunneling.proxy_host, tunneling.target_host = "pilotage", "target"  # the socket determines both
        tunneling.default_target_port = 1
        tunneling.buffer_options.max_buffered_datagrams.value = _HELD_DATAGRAMS
        tunneling.buffer_options.max_buffered_bytes.value = _HELD_BYTES
        proxy.session_filters.add(
            name="envoy.filters.udp.session.http_capsule", typed_config=packed(http_capsule_pb2.FilterConfig())
        )
    return listener_components_pb2.ListenerFilter(
        name="envoy.filters.udp_listener.udp_proxy", typed_config=packed(proxy)
    )
