from __future__ import annotations

from pilotage.xds.nacks import nack_problems
from pilotage.xds.resources import CLUSTER, LISTENER, SECRET, Resource
from pilotage.xds.session import Nack
from tests.support.gateway import route


def refused(said: str, type_url: str, name: str, *answers: str) -> list[tuple[str, str, str]]:
    routes = {"app": route("app", 80), "db": route("db", 22)}
    nack = Nack(Resource(type_url, name, "1", b"", answers=answers), said)
    return [(it.route, it.message, it.hint) for it in nack_problems(nack, "edge", routes.get)]


def test_a_port_in_use_is_reported_as_such() -> None:
    said = "Error adding/updating listener(s) tcp/0.0.0.0:22: cannot bind '0.0.0.0:22': Address already in use\n"
    (found,) = refused(said, LISTENER, "tcp/0.0.0.0:22", "db")
    message = "Envoy edge cannot listen on tcp/0.0.0.0:22: Address already in use"
    assert found == ("db", message, "choose another port, or stop the program that listens there")
    said = "Error adding/updating listener(s) http: cannot bind '0.0.0.0:80': Permission denied\n"
    (found,) = refused(said, LISTENER, "http")
    assert found[:2] == ("", "Envoy edge cannot listen on 0.0.0.0:80: Permission denied")


def test_each_route_of_a_resource_gets_a_one_line_problem() -> None:
    said = "Error adding/updating cluster(s) route/app: Invalid path: /ca.pem\n"
    told = "Envoy edge rejected this route and keeps the previous version: route/app: Invalid path: /ca.pem"
    hint = "fix the labels of this route"
    assert refused(said, CLUSTER, "route/app", "app", "db") == [("app", told, hint), ("db", told, hint)]
    assert refused(said, CLUSTER, "route/app", "gone") == [("gone", told, "fix the gateway's settings")]


def test_a_rejected_resource_without_a_route_is_named() -> None:
    ((_, message, hint),) = refused("odd\n goo.gle/debugonly tls_certificate { }", SECRET, "certificate/1")
    assert message == "Envoy edge rejected the certificate 1 and keeps the previous version: odd"
    assert hint == "fix the gateway's settings"
    ((_, message, _),) = refused("odd", LISTENER, "http")
    assert "the listener http" in message
