"""What Envoys report about requests in progress."""

from __future__ import annotations

from pilotage.sleep.activity import Activity
from pilotage.xds.load_reports import Load

SHOP = "route/shop@7"


def connected(*envoys: str) -> Activity:
    activity = Activity()
    for envoy in envoys:
        activity.connect(envoy, 1.0, 0.0)
    return activity


def test_the_requests_of_all_envoys_add_up() -> None:
    activity = connected("a", "b")
    activity.report("a", {SHOP: Load(in_progress=2)}, 1.0)
    activity.report("b", {SHOP: Load(in_progress=3), "route/blog@1": Load(issued=9)}, 1.0)
    assert activity.in_progress(SHOP, 1.5) == 5


def test_a_report_replaces_the_last_one() -> None:
    activity = connected("a")
    activity.report("a", {SHOP: Load(in_progress=2)}, 1.0)
    activity.report("a", {}, 2.0)
    assert activity.in_progress(SHOP, 2.5) == 0


def test_an_envoy_that_has_missed_three_reports_counts_as_busy() -> None:
    activity = connected("a", "b")
    activity.report("a", {}, 1.0)
    activity.report("b", {}, 3.0)
    assert activity.in_progress(SHOP, 3.9) == 0
    assert activity.in_progress(SHOP, 4.1) == 1
    activity.disconnect("a")
    assert activity.in_progress(SHOP, 4.1) == 0


def test_only_a_report_that_began_after_the_moment_proves_quiet() -> None:
    activity = connected("a", "b")
    since = activity.marks()
    assert not activity.is_quiet(SHOP, since)
    for envoy in ("a", "b"):
        activity.report(envoy, {}, 1.0)
    assert not activity.is_quiet(SHOP, since)
    activity.report("a", {}, 2.0)
    activity.report("b", {SHOP: Load(in_progress=1)}, 2.0)
    assert not activity.is_quiet(SHOP, since)
    activity.report("b", {}, 3.0)
    assert activity.is_quiet(SHOP, since)


def test_an_envoy_that_connects_later_must_report_too() -> None:
    activity = connected("a")
    since = activity.marks()
    activity.report("a", {}, 1.0)
    activity.report("a", {}, 2.0)
    activity.connect("b", 1.0, 2.0)
    assert not activity.is_quiet(SHOP, since)
    activity.disconnect("b")
    assert activity.is_quiet(SHOP, since)


def test_without_envoys_everything_is_quiet() -> None:
    assert connected().is_quiet(SHOP, {})


def test_a_report_of_an_unknown_envoy_is_ignored() -> None:
    activity = connected()
    activity.report("a", {SHOP: Load(in_progress=1)}, 1.0)
    assert activity.in_progress(SHOP, 1.0) == 0
