"""Determines the addresses and domains of the gateway, for the URLs of routes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.output.urls import GatewayPorts

if TYPE_CHECKING:
    from pilotage.xds.options import GatewayOptions

__all__ = ["gateway_ports"]


def gateway_ports(options: GatewayOptions) -> GatewayPorts:
    """Return the addresses, ports and domains on which a gateway with these options serves."""
    return GatewayPorts(
        http_address=options.http_address,
        http_port=options.http_port,
        https_address=options.https_address,
        https_port=options.https_port if options.serves_https else 0,
        public_https_port=options.public_https_port,
        redirect_to_https=options.redirect_to_https,
        match_domains=options.match_domains,
    )
