from __future__ import annotations

from pilotage.xds.resources import CLUSTER, SCOPE
from tests.support.session import Envoy, cluster, hosts, probed_cluster, scope


def test_an_envoy_that_has_yet_to_subscribe_owes_an_answer_since_its_last_request() -> None:
    envoy = Envoy()
    assert envoy.session.unanswered_since(7.0) == 7.0
    envoy.connect()
    envoy.run()
    assert envoy.session.unanswered_since(7.0) is None


def test_an_answer_is_owed_since_the_oldest_response_was_sent() -> None:
    envoy = Envoy()
    envoy.connect()
    envoy.run()
    envoy.change(cluster("app"))
    envoy.session.now = 20.0
    (sent,) = envoy.session.next_responses()
    envoy.change(cluster("other"))
    envoy.session.now = 30.0
    assert envoy.session.next_responses() == []
    assert envoy.session.unanswered_since(0.0) == 20.0
    assert envoy.session.waiting == 2
    envoy._answer(sent)
    assert envoy.session.unanswered_since(0.0) is None


def test_an_envoy_that_probes_owes_nothing() -> None:
    envoy = Envoy()
    envoy.connect()
    envoy.run()
    envoy.probing = True
    envoy.change(probed_cluster("app"))
    envoy.run()
    assert envoy.withheld
    assert envoy.session.unanswered_since(0.0) is None


def test_the_state_of_a_resource_is_waiting_accepted_or_rejected() -> None:
    envoy = Envoy()
    envoy.connect()
    envoy.run()
    envoy.change(cluster("app"))
    key = (CLUSTER, "app")
    assert envoy.session.state_of(key, "app") == "waiting"
    assert envoy.session.accepted_version(key) is None
    envoy.run()
    assert envoy.session.state_of(key, "app") == "accepted"
    assert envoy.session.accepted_version(key) == "1"
    envoy.bad.add(("app", "2"))
    envoy.change(cluster("app", "2"))
    envoy.run()
    assert envoy.session.state_of(key, "app") == "rejected"
    envoy.change(cluster("app", "3"))
    envoy.run()
    assert envoy.session.state_of(key, "app") == "accepted"


def test_a_rejected_virtual_host_does_not_reject_the_others_of_its_scope() -> None:
    envoy = Envoy(cluster("a"), cluster("b"), hosts("app", ("app", "1", "a"), ("app.example.org", "bad", "b")))
    envoy.bad.add(("app.example.org", "bad"))
    envoy.connect()
    envoy.run()
    states = {name: envoy.session.state_of((SCOPE, "app"), name) for name in ("app", "app.example.org")}
    assert states == {"app": "accepted", "app.example.org": "rejected"}


def test_a_scope_without_virtual_hosts_is_accepted_as_a_whole() -> None:
    envoy = Envoy(scope("app", "1"))
    envoy.connect()
    envoy.run()
    assert envoy.session.state_of((SCOPE, "app"), "app") == "accepted"
