"""Builds the transport with which Envoy sends the client's address to a target, with the PROXY protocol. Pure."""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3 import base_pb2, proxy_protocol_pb2
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2

from pilotage.xds.resources import packed

__all__ = ["relaying"]


def relaying() -> Any:
    """Return a transport socket that begins each connection with a header of version 2."""
    raw = base_pb2.TransportSocket(
        name="envoy.transport_sockets.raw_buffer", typed_config=packed(raw_buffer_pb2.RawBuffer())
    )
    version = proxy_protocol_pb2.ProxyProtocolConfig(version=proxy_protocol_pb2.ProxyProtocolConfig.V2)
    message = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport(config=version, transport_socket=raw)
    return base_pb2.TransportSocket(
        name="envoy.transport_sockets.upstream_proxy_protocol", typed_config=packed(message)
    )
