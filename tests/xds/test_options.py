from __future__ import annotations

from pilotage.xds.options import CertificateFiles, GatewayOptions


def test_https_needs_a_port_and_a_certificate() -> None:
    files = (CertificateFiles("c", "k"),)
    assert not GatewayOptions(https_port=443).serves_https
    assert not GatewayOptions(certificates=files).serves_https
    assert GatewayOptions(https_port=443, certificates=files).serves_https


def test_redirects_lead_to_the_public_port() -> None:
    assert GatewayOptions(https_port=8443).redirect_port == 8443
    assert GatewayOptions(https_port=8443, public_https_port=443).redirect_port == 443
