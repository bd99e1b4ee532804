from __future__ import annotations

from envoy.service.discovery.v3 import discovery_pb2

from pilotage.xds.resources import CLUSTER, LISTENER, SCOPE
from tests.support.session import Envoy, cluster, item, scope


def test_one_rejected_resource_among_many_is_found_and_the_others_are_applied() -> None:
    envoy = Envoy(*(scope(f"s{number}", "1") for number in range(20)))
    envoy.bad = {("s13", "1")}
    envoy.connect()
    envoy.run()
    assert envoy.refused == [("s13", "1")]
    assert {name for _, name in envoy.has} == {f"s{number}" for number in range(20)} - {"s13"}
    assert envoy.session.in_sync


def test_the_last_accepted_version_stays_until_a_newer_one_is_accepted() -> None:
    envoy = Envoy(scope("app", "1"))
    envoy.connect()
    envoy.run()
    envoy.bad = {("app", "2")}
    envoy.change(scope("app", "2"))
    envoy.run()
    assert envoy.has[SCOPE, "app"] == "1"
    envoy.got.clear()
    envoy.change(scope("app", "2"))
    envoy.run()
    assert envoy.got == []  # it is not offered again
    envoy.change(scope("app", "3"))
    envoy.run()
    assert envoy.has[SCOPE, "app"] == "3"
    assert envoy.session.nacks == {}


def test_nothing_references_a_rejected_cluster() -> None:
    envoy = Envoy(cluster("c"), scope("app", "1", "c"), scope("web", "1"))
    envoy.bad = {("c", "1")}
    envoy.connect()
    envoy.run()
    assert envoy.has == {(SCOPE, "web"): "1"}
    assert envoy.session.in_sync
    envoy.change(cluster("c", "2"))
    envoy.run()
    assert envoy.has[SCOPE, "app"] == "1"


def test_a_stream_listener_whose_newer_cluster_is_rejected_is_removed() -> None:
    listener = item(LISTENER, "tcp/0.0.0.0:22", "1", "c")
    envoy = Envoy(cluster("c"), listener)
    envoy.connect()
    envoy.run()
    envoy.bad = {("c", "2")}
    envoy.change(cluster("c", "2"))
    envoy.run()
    assert envoy.has == {(CLUSTER, "c"): "1"}
    assert envoy.session.in_sync
    envoy.change(cluster("c", "3"))
    envoy.run()
    assert envoy.has[listener.key] == "1"


def test_a_rejected_resource_is_sent_again_by_a_retry_and_after_its_withdrawal() -> None:
    listener = item(LISTENER, "tcp/0.0.0.0:22", "1")
    envoy = Envoy(listener)
    envoy.bad = {(listener.name, "1")}
    envoy.connect()
    envoy.run()
    envoy.session.retry(envoy.session.rejected_keys)
    envoy.run()
    assert envoy.refused == [(listener.name, "1")] * 2
    assert [it.resource for it in envoy.session.rejections] == [listener]
    envoy.bad.clear()
    envoy.session.retry([listener.key])
    envoy.run()
    assert envoy.has == {listener.key: "1"}
    assert envoy.session.rejections == []
    envoy.bad = {(listener.name, "2")}
    envoy.change(item(LISTENER, listener.name, "2"))
    envoy.run()
    envoy.change(gone=(listener.key,))
    envoy.run()
    assert envoy.has == {}
    envoy.bad.clear()
    envoy.change(item(LISTENER, listener.name, "2"))
    envoy.run()
    assert envoy.has == {listener.key: "2"}


def test_a_cluster_stays_while_the_last_accepted_version_references_it() -> None:
    for reconnected in (False, True):
        envoy = Envoy(cluster("c"), scope("app", "1", "c"))
        envoy.connect()
        envoy.run()
        if reconnected:
            envoy.session = type(envoy.session)(envoy.should)
            del envoy.should[CLUSTER, "c"]
            envoy.change(scope("app", "2"))
            envoy.bad = {("app", "2")}
            envoy.connect()
        else:
            envoy.bad = {("app", "2")}
            envoy.change(scope("app", "2"), gone=((CLUSTER, "c"),))
        envoy.run()
        assert envoy.has == {(CLUSTER, "c"): "1", (SCOPE, "app"): "1"}
        assert envoy.session.in_sync
        envoy.change(scope("app", "3"))
        envoy.run()
        assert envoy.has == {(SCOPE, "app"): "3"}


def test_a_cluster_is_removed_only_after_envoy_has_subscribed_to_everything() -> None:
    """It says so one kind after another, and what leads to a cluster may come last."""
    envoy = Envoy(item(LISTENER, "http", "1"), cluster("c"), scope("app", "1", "c"))
    envoy.connect()
    envoy.run()
    del envoy.should[CLUSTER, "c"]
    envoy.should[SCOPE, "app"] = envoy.ever[SCOPE, "app", "2"] = scope("app", "2")
    envoy.session = type(envoy.session)(envoy.should)
    for type_url in (CLUSTER, LISTENER, SCOPE):
        versions = {name: version for (of, name), version in envoy.has.items() if of == type_url}
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, initial_resource_versions=versions)
        envoy.session.handle_request(request)
        envoy.run()
    assert envoy.has == {(LISTENER, "http"): "1", (SCOPE, "app"): "2"}


def test_a_rejected_scope_of_unknown_version_keeps_only_clusters_it_may_reference() -> None:
    envoy = Envoy(cluster("old"), cluster("new"), scope("app", "2"), has={(SCOPE, "app"): "1", (CLUSTER, "old"): "1"})
    envoy.bad = {("app", "2")}
    envoy.connect()
    envoy.run()
    envoy.change(gone=((CLUSTER, "old"), (CLUSTER, "new")))
    envoy.run()
    assert envoy.has == {(SCOPE, "app"): "1", (CLUSTER, "old"): "1"}


def test_a_version_that_was_never_accepted_keeps_no_cluster() -> None:
    envoy = Envoy(cluster("c"), scope("app", "1", "c"))
    envoy.bad = {("app", "1"), ("app", "2")}
    envoy.connect()
    envoy.run()
    assert envoy.has == {(CLUSTER, "c"): "1"}
    envoy.change(scope("app", "2"), gone=((CLUSTER, "c"),))
    envoy.run()
    assert envoy.has == {}
