from __future__ import annotations

import pytest
from envoy.config.cluster.v3 import cluster_pb2

from pilotage.xds.backend import route_backend
from pilotage.xds.clusters import own_clusters, shared_clusters
from pilotage.xds.options import CertificateFiles, GatewayOptions, longest_pauses
from pilotage.xds.retries import retries
from tests.support.defaults import filled_by_default
from tests.support.gateway import route


def test_https_needs_a_port_and_a_certificate() -> None:
    files = (CertificateFiles("c", "k"),)
    assert not GatewayOptions(https_port=443).serves_https
    assert not GatewayOptions(certificates=files).serves_https
    assert GatewayOptions(https_port=443, certificates=files).serves_https


def test_redirects_lead_to_the_public_port() -> None:
    assert GatewayOptions(https_port=8443).redirect_port == 8443
    assert GatewayOptions(https_port=8443, public_https_port=443).redirect_port == 443


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("times", range(11))
@pytest.mark.parametrize("limit", [2.0, 10.0])
def test_all_attempts_to_connect_end_within_the_limit(limit: float, times: int, *, static: bool) -> None:
    options = GatewayOptions(connect_timeout=limit, retries=times)
    attempt, tries = options.attempt_timeout(static=static), options.tries(static=static)
    whole = attempt * (tries + 1) + longest_pauses(tries)
    assert whole <= max(2.0 if static else limit, 0.1 * (tries + 1) + longest_pauses(tries)) + 1e-9
    assert attempt >= 0.1


def test_by_default_a_request_that_connects_to_nothing_fails_within_seven_seconds() -> None:
    options = GatewayOptions()
    assert options.attempt_timeout() * (options.retries + 1) + longest_pauses(options.retries) == pytest.approx(7.0)
    for cluster in shared_clusters(options):
        message = cluster_pb2.Cluster.FromString(cluster.body)
        assert message.connect_timeout.ToMilliseconds() == pytest.approx(options.attempt_timeout() * 1000, abs=1)


def test_a_request_to_the_dead_target_of_a_route_from_a_file_ends_within_two_seconds() -> None:
    backend, options = route_backend(route("app", 80, container="")), GatewayOptions()
    (cluster,) = own_clusters(backend, options)
    attempt = cluster_pb2.Cluster.FromString(cluster.body).connect_timeout.ToMilliseconds() / 1000
    tries = retries(backend, options).num_retries.value
    assert tries == 2
    assert attempt * (tries + 1) + longest_pauses(tries) == pytest.approx(2.0, abs=0.01)
    assert longest_pauses(tries) == pytest.approx(0.3)  # if all attempts are refused


def test_fields_are_empty_by_default_except_these() -> None:
    assert filled_by_default("xds") == {
        "Member.weight": 1,
        "Backend.backing": "none",
        "RoutePolicy.servable": True,
        "Captcha.session_seconds": 86_400.0,
        "CaptchaService.script_url": "https://js.hcaptcha.com/1/api.js",
        "CaptchaService.verify_url": "https://api.hcaptcha.com/siteverify",
        "GatewayOptions.cloudflare_lists": ("https://www.cloudflare.com/ips-v4", "https://www.cloudflare.com/ips-v6"),
        "GatewayOptions.http_address": "0.0.0.0",
        "GatewayOptions.http_port": 8080,
        "GatewayOptions.https_address": "0.0.0.0",
        "GatewayOptions.connect_timeout": 7.0,
        "GatewayOptions.retries": 8,
        "GatewayOptions.idle_timeout": 180.0,
        "GatewayOptions.body_timeout": 300.0,
        "GatewayOptions.stream_timeout": 600.0,
        "GatewayOptions.max_target_connections": 10000,
        "GatewayOptions.max_waiting_requests": 1000,
        "GatewayOptions.max_waiting_in_all": 20_000,
        "GatewayOptions.max_client_connections": 6250,
        "GatewayOptions.max_rule_memory": 256,
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
        "Agent.datagrams": True,
        "ForwardAuth.timeout": 10.0,
        "Host.served": True,
    }
