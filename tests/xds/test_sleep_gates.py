"""Envoys ask for clusters of sleeping routes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from envoy.service.discovery.v3 import discovery_pb2

from pilotage.routes.gate import Gate
from pilotage.table.table import Table
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import CLUSTER, EXTENSION, LISTENER, SCOPE
from pilotage.xds.session import Session
from pilotage.xds.sleep_gates import SleepGates
from pilotage.xds.snapshot import Snapshot
from tests.support.summaries import route

if TYPE_CHECKING:
    from pilotage.xds.resources import Key


class Gateway:
    """A snapshot with one sleeping route, and one Envoy."""

    def __init__(self, **labels: str) -> None:
        self.snapshot = Snapshot(GatewayOptions())
        self.session = Session(self.snapshot.resources)
        self.wanted: list[str] = []
        self.gates = SleepGates(self.snapshot, self.send, lambda: [self.session], self.accepted)
        self.gates.on_want = self.wanted.append
        for type_url in (LISTENER, SCOPE):
            self.session.handle_request(discovery_pb2.DeltaDiscoveryRequest(type_url=type_url))
        self.gates.set_gate("web", Gate(7, "closed"))
        given = {f"proxy.web.{name}": text for name, text in labels.items()}
        self.snapshot.replace(Table({"web": route({"proxy.idle_timeout": "5m", **given})}))

    def send(self, changed: frozenset[Key]) -> None:
        self.session.mark_changed(changed)

    async def accepted(self, _keys: Any) -> None: ...

    def ask(self, *names: str) -> None:
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, resource_names_subscribe=names)
        self.session.handle_request(request)
        self.gates.answer(self.session)

    def removed(self) -> list[str]:
        """Answer everything that is sent, and return the names of clusters that are said not to exist."""
        found: list[str] = []
        while responses := self.session.next_responses():
            for response in responses:
                found += response.removed_resources
                self.session.handle_request(
                    discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
                )
        return found


def test_a_request_for_a_sleeping_route_wakes_it_and_is_not_answered_yet() -> None:
    gateway = Gateway()
    gateway.ask("*")
    gateway.ask("sleep/7/web")
    assert gateway.wanted == ["web"]
    assert gateway.removed() == []


def test_a_request_for_an_earlier_or_unknown_cluster_fails_at_once() -> None:
    gateway = Gateway()
    gateway.ask("*")
    gateway.ask("sleep/6/web", "sleep/1/gone", "nonsense")
    assert gateway.wanted == ["web"]  # the next request will find it awake
    assert gateway.removed() == ["nonsense", "sleep/1/gone", "sleep/6/web"]


def test_requests_that_wait_are_rejected_when_the_attempt_fails_or_the_route_goes() -> None:
    for after in (Gate(8, "failed", "broken"), None):
        gateway = Gateway()
        gateway.ask("*")
        gateway.ask("sleep/7/web")
        gateway.removed()
        gateway.gates.set_gate("web", after)
        assert "sleep/7/web" in gateway.removed()


def test_requests_are_rejected_only_once_envoy_leads_no_further_ones_to_their_cluster() -> None:
    gateway = Gateway()
    gateway.send(frozenset(gateway.snapshot.resources))
    gateway.ask("*")
    gateway.ask("sleep/7/web")
    gateway.removed()
    gateway.gates.set_gate("web", Gate(8, "failed", "broken"))
    (scope,) = gateway.session.next_responses()
    assert (scope.type_url, list(scope.removed_resources)) == (SCOPE, [])
    assert gateway.session.next_responses() == []
    answer = discovery_pb2.DeltaDiscoveryRequest(type_url=SCOPE, response_nonce=scope.nonce)
    gateway.session.handle_request(answer)
    assert gateway.removed() == ["sleep/7/web"]


def test_connections_are_closed_only_once_envoy_leads_no_further_ones_to_their_cluster() -> None:
    gateway = Gateway(scheme="tcp", port="2222:22")
    names = ("tcp/web", "waiting/web")
    wanted = discovery_pb2.DeltaDiscoveryRequest(type_url=EXTENSION, resource_names_subscribe=names)
    gateway.session.handle_request(wanted)
    gateway.send(frozenset(gateway.snapshot.resources))
    gateway.ask("*")
    gateway.ask("sleep/7/web")
    gateway.removed()
    gateway.gates.set_gate("web", Gate(8, "failed", "broken"))
    (filters,) = gateway.session.next_responses()
    assert (filters.type_url, [it.name for it in filters.resources]) == (EXTENSION, ["tcp/web"])
    assert gateway.session.next_responses() == []
    answer = discovery_pb2.DeltaDiscoveryRequest(type_url=EXTENSION, response_nonce=filters.nonce)
    gateway.session.handle_request(answer)
    assert gateway.removed() == ["sleep/7/web"]


def test_requests_are_rejected_even_if_envoy_rejects_the_scope_that_no_longer_leads_there() -> None:
    gateway = Gateway()
    gateway.send(frozenset(gateway.snapshot.resources))
    gateway.ask("*")
    gateway.ask("sleep/7/web")
    gateway.removed()
    gateway.gates.set_gate("web", Gate(8, "failed", "broken"))
    found: list[str] = []
    while responses := gateway.session.next_responses():
        for response in responses:
            found += response.removed_resources if response.type_url == CLUSTER else []
            answer = discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
            if response.type_url == SCOPE and response.resources:
                answer.error_detail.message = "odd"
            gateway.session.handle_request(answer)
    assert found == ["sleep/7/web"]


def test_the_cluster_is_delivered_once_the_gate_opens() -> None:
    gateway = Gateway()
    gateway.ask("*")
    gateway.ask("sleep/7/web")
    gateway.removed()
    changed = gateway.gates.set_gate("web", Gate(7, "open"))
    assert (CLUSTER, "sleep/7/web") in changed
    assert gateway.gates.set_gate("web", Gate(7, "open")) == frozenset()


def test_a_page_load_wakes_the_route_and_gets_the_page() -> None:
    gateway = Gateway()
    gateway.gates.page = lambda alias, path: (f"<p>{alias} {path}", {"Retry-After": "2"})
    request = SimpleNamespace(attributes=SimpleNamespace(request=SimpleNamespace(http=SimpleNamespace(path="/cart"))))
    response = gateway.gates.check("web", request)
    assert gateway.wanted == ["web"]
    assert response.denied_response.body == "<p>web /cart"
    assert response.denied_response.status.code == 503
    gateway.gates.page = lambda _alias, _path: None
    assert gateway.gates.check("web", request).HasField("ok_response")
