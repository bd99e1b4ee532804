from __future__ import annotations

from pilotage.xds.subscription import Response, Subscription
from tests.support.session import cluster, probed_cluster


def test_the_version_in_flight_wins_over_the_acknowledged_one() -> None:
    subscription = Subscription()
    subscription.acked = {"a": "1", "b": "1"}
    subscription.in_flight = [Response("1", {"a": cluster("a", "2")}, {"b"}, {})]
    assert [subscription.version(name) for name in ("a", "b", "c")] == ["2", None, None]


def test_one_response_is_in_flight_unless_envoy_is_probing() -> None:
    subscription = Subscription()
    assert subscription.can_send
    subscription.in_flight = [Response("1", {"a": cluster("a")}, set(), {})]
    assert not subscription.can_send
    subscription.in_flight = [Response("1", {"a": probed_cluster("a")}, set(), {})] * 99
    assert subscription.can_send
    subscription.in_flight *= 2
    assert not subscription.can_send


def test_blocked_names_become_pending_again() -> None:
    subscription = Subscription()
    subscription.blocked = {"b", "a"}
    subscription.unblock()
    assert list(subscription.pending) == ["a", "b"]
    assert subscription.blocked == set()
