"""What Envoys report about requests in progress."""

from __future__ import annotations

from pilotage.sleep.activity import Activity
from pilotage.xds.load_reports import Load, Report

SHOP = "sleep/7/shop"


def report(
    node: str = "a", loads: dict[str, dict[str, Load]] | None = None, *, at: float = 0.0, begun: float = 0.0
) -> Report:
    return Report(node, at, begun, 1.0, loads or {})


def busy(in_progress: int, issued: int = 0) -> dict[str, dict[str, Load]]:
    return {SHOP: {"10.0.0.1:80": Load(in_progress, issued)}}


def test_the_requests_of_all_envoys_and_endpoints_add_up() -> None:
    two = {SHOP: {"10.0.0.1:80": Load(1), "10.0.0.2:80": Load(2)}}
    reports = [report("a", two, at=1.0), report("b", busy(3), at=1.0)]
    assert Activity(lambda: reports).in_progress(SHOP, 1.5) == 6


def test_an_envoy_that_has_missed_three_reports_counts_as_busy() -> None:
    reports = [report("a", at=1.0), report("b", at=3.0)]
    activity = Activity(lambda: reports)
    assert activity.in_progress(SHOP, 3.9) == 0
    assert activity.in_progress(SHOP, 4.1) == 1
    del reports[0]
    assert activity.in_progress(SHOP, 4.1) == 0


def test_only_a_report_whose_period_began_after_the_moment_proves_quiet() -> None:
    reports = [report("a", at=3.0, begun=2.0), report("b", at=3.0, begun=1.0)]
    activity = Activity(lambda: reports)
    assert not activity.is_quiet(SHOP, 1.5)
    reports[1] = report("b", busy(1), at=4.0, begun=3.0)
    assert not activity.is_quiet(SHOP, 1.5)
    reports[1] = report("b", at=5.0, begun=4.0)
    assert activity.is_quiet(SHOP, 1.5)


def test_without_envoys_everything_is_quiet() -> None:
    activity = Activity(list)
    assert activity.is_quiet(SHOP, 0.0)
    assert activity.in_progress(SHOP, 0.0) == 0


def test_requests_are_counted_since_the_last_report_of_the_same_envoy() -> None:
    first, second = report("a", busy(0, 5)), report("b", busy(0, 9))
    activity = Activity(lambda: [first, second])
    assert activity.changes(first) == {SHOP: 5}
    assert activity.changes(second) == {SHOP: 9}
    first.loads = busy(2, 7)
    assert activity.changes(first) == {SHOP: 2}
    assert activity.changes(first) == {SHOP: 0}


def test_clusters_of_routes_that_do_not_sleep_are_left_out() -> None:
    found = report("a", {"route/web": {"10.0.0.1:80": Load(1, 1)}})
    assert Activity(lambda: [found]).changes(found) == {}
