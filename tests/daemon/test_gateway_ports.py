from __future__ import annotations

from msgspec.structs import replace

from pilotage.daemon.gateway_ports import gateway_ports
from pilotage.output.urls import GatewayPorts
from pilotage.xds.options import CertificateFiles, GatewayOptions


def test_urls_have_https_only_with_a_certificate() -> None:
    files = (CertificateFiles("c", "k"),)
    options = GatewayOptions(http_address="::1", http_port=81, https_port=8443, public_https_port=443)
    assert gateway_ports(options).https_port == 0
    expected = GatewayPorts(http_address="::1", http_port=81, https_port=8443, public_https_port=443)
    assert gateway_ports(replace(options, certificates=files)) == expected
    options = GatewayOptions(https_address="::1", redirect_to_https=True, match_domains=("example.org",))
    expected = GatewayPorts(https_address="::1", redirect_to_https=True, match_domains=("example.org",))
    assert gateway_ports(options) == expected
