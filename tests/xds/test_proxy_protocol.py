from __future__ import annotations

from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2

from pilotage.xds.proxy_protocol import relaying


def test_the_header_has_version_2_and_precedes_plain_tcp() -> None:
    """``test_listeners`` sends it through Envoy."""
    found = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport()
    assert relaying().typed_config.Unpack(found)
    assert found.config.version == found.config.V2
    assert found.transport_socket.name == "envoy.transport_sockets.raw_buffer"
