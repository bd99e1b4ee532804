from __future__ import annotations

from envoy.extensions.filters.http.rbac.v3 import rbac_pb2

from pilotage.table.table import Table
from pilotage.xds.backend import route_backend
from pilotage.xds.client_checks import client_check, client_refusals, profile_of, subject_headers
from pilotage.xds.client_profiles import ClientProfile
from pilotage.xds.options import GatewayOptions
from pilotage.xds.snapshot import Snapshot
from tests.support.gateway import route


def test_a_route_refuses_other_connections_before_missing_certificates() -> None:
    def policies(profile: ClientProfile) -> list[str]:
        message = rbac_pb2.RBACPerRoute.FromString(client_check(profile).value)
        return sorted(message.rbac.rules.policies)

    assert policies(ClientProfile("staff", ("ca.pem",))) == ["clients/421", "clients/certificate"]
    assert policies(ClientProfile("staff", ("ca.pem",), optional=True)) == ["clients/421"]
    assert [status for _, status, _ in client_refusals()] == [421, 403]


def test_a_missing_profile_is_never_optional() -> None:
    profile = ClientProfile("staff", ("ca.pem",), optional=True)
    options = GatewayOptions(client_profiles=(profile,))
    for name, expected in (("staff", profile), ("gone", ClientProfile("gone")), ("", None)):
        assert profile_of(route_backend(route("app", 80, inbound_mtls_profile=name)), options) == expected


def test_only_routes_with_a_profile_get_the_subject() -> None:
    assert subject_headers(route_backend(route("app", 80))) == []
    (found,) = subject_headers(route_backend(route("app", 80, inbound_mtls_profile="staff")))
    assert found.header.key == "x-client-cert-subject"


def test_rules_of_other_routes_do_not_lead_past_a_profile() -> None:
    profile = ClientProfile("staff", ("ca.pem",))
    snapshot = Snapshot(GatewayOptions(client_profiles=(profile,), https_port=443, automatic_certificates=True))
    staff = route("staff", 80, inbound_mtls_profile="staff")
    snapshot.replace(Table({"app": route("app", 80, rules="{ route staff }"), "staff": staff}, version=1))
    found = [problem.message for problems in snapshot.problems.values() for problem in problems]
    assert any("requires client certificates, which would be bypassed" in message for message in found)
