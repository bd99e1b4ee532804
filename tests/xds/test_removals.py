from __future__ import annotations

from pilotage.xds.removals import RemovalHold
from pilotage.xds.resources import CLUSTER, SCOPE
from pilotage.xds.session import Session
from tests.support.session import Envoy, cluster, scope

OLD = {(CLUSTER, "old"): "1", (SCOPE, "old"): "1", (CLUSTER, "kept"): "1", (SCOPE, "kept"): "1"}


def test_what_an_envoy_had_before_stays_until_removals_are_allowed() -> None:
    hold = RemovalHold()
    hold.begin()
    envoy = Envoy(cluster("kept"), scope("kept", "1", "kept"), has=OLD)
    envoy.session = Session(envoy.should, hold)
    envoy.connect()
    envoy.run()
    assert envoy.has == OLD
    assert envoy.session.in_sync
    envoy.change(cluster("new"), scope("new", "1", "new"))  # additions do not wait
    envoy.run()
    assert envoy.has.keys() - OLD.keys() == {(CLUSTER, "new"), (SCOPE, "new")}
    held = hold.end()
    assert held == {(CLUSTER, "old"), (SCOPE, "old")}
    envoy.session.mark_changed(held)
    envoy.run()
    assert envoy.has.keys() & OLD.keys() == {(CLUSTER, "kept"), (SCOPE, "kept")}
    assert hold.end() == set()


def test_without_a_hold_nothing_is_held() -> None:
    assert not RemovalHold().holds((CLUSTER, "a"))
