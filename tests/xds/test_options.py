from __future__ import annotations

import pytest
from envoy.config.cluster.v3 import cluster_pb2

from pilotage.xds.clusters import shared_clusters
from pilotage.xds.options import CertificateFiles, GatewayOptions, longest_pauses
from tests.support.defaults import filled_by_default


def test_https_needs_a_port_and_a_certificate() -> None:
    files = (CertificateFiles("c", "k"),)
    assert not GatewayOptions(https_port=443).serves_https
    assert not GatewayOptions(certificates=files).serves_https
    assert GatewayOptions(https_port=443, certificates=files).serves_https


def test_redirects_lead_to_the_public_port() -> None:
    assert GatewayOptions(https_port=8443).redirect_port == 8443
    assert GatewayOptions(https_port=8443, public_https_port=443).redirect_port == 443


@pytest.mark.parametrize("retries", range(11))
@pytest.mark.parametrize("limit", [2.0, 10.0])
def test_all_attempts_to_connect_end_within_the_limit(limit: float, retries: int) -> None:
    options = GatewayOptions(connect_timeout=limit, retries=retries)
    whole = options.attempt_timeout * (retries + 1) + longest_pauses(retries)
    assert whole <= max(limit, 0.1 * (retries + 1) + longest_pauses(retries)) + 1e-9
    assert options.attempt_timeout >= 0.1


def test_by_default_a_request_that_connects_to_nothing_fails_within_eight_seconds() -> None:
    options = GatewayOptions()
    assert options.attempt_timeout * (options.retries + 1) + longest_pauses(options.retries) == pytest.approx(8.0)
    for cluster in shared_clusters(options):
        message = cluster_pb2.Cluster.FromString(cluster.body)
        assert message.connect_timeout.ToMilliseconds() == pytest.approx(options.attempt_timeout * 1000, abs=1)


def test_fields_are_empty_by_default_except_these() -> None:
    assert filled_by_default("xds") == {
        "Member.weight": 1,
        "Backend.backing": "none",
        "RoutePolicy.servable": True,
        "GatewayOptions.http_address": "0.0.0.0",
        "GatewayOptions.http_port": 8080,
        "GatewayOptions.https_address": "0.0.0.0",
        "GatewayOptions.connect_timeout": 8.0,
        "GatewayOptions.retries": 6,
        "GatewayOptions.idle_timeout": 180.0,
        "GatewayOptions.body_timeout": 300.0,
        "GatewayOptions.stream_timeout": 600.0,
        "GatewayOptions.max_target_connections": 10000,
        "GatewayOptions.max_waiting_requests": 1000,
        "GatewayOptions.max_waiting_in_all": 20_000,
        "GatewayOptions.max_client_connections": 6250,
        "GatewayOptions.max_udp_clients": 2500,
        "Limits.connections": 50000,
        "Limits.memory": 2147483648,
        "Limits.per_target": 12500,
        "Limits.per_client": 6250,
        "Limits.per_udp_route": 3125,
        "ScopePart.served": True,
        "ScopePart.measured": True,
        "Host.measured": True,
        "Backend.measured": True,
        "Agent.in_host_network": True,
        "Agent.tunnels": True,
        "Host.served": True,
    }
