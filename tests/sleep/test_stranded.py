"""Requests that were sent to containers in the moment of a stop wake them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pilotage.sleep.state import Phase
from pilotage.sleep.stranded import StrandedRequests
from pilotage.xds.load_reports import Load, Report

NOWHERE = "192.0.2.1:9"


class FakeSleeper:
    """Knows the units ``shop`` and, in a pool, ``POOL/web``; records what is wanted."""

    def __init__(self) -> None:
        self.phase = Phase.ASLEEP
        self.start_endpoint = ""
        self.wanted: list[str] = []

    def unit(self, alias: str) -> Any:
        config = SimpleNamespace(start_endpoint=self.start_endpoint)
        unit = SimpleNamespace(state=SimpleNamespace(phase=self.phase), config=config)
        return unit if alias in ("shop", "POOL/web") else None

    def want(self, alias: str) -> None:
        self.wanted.append(alias)


class Site:
    def __init__(self) -> None:
        self.sleeper = FakeSleeper()
        self.stranded = StrandedRequests(self.sleeper)

    def report(self, failed: int, cluster: str = "sleep/7/shop", address: str = NOWHERE, node: str = "a") -> list[str]:
        """Report so many failed attempts; return what is wanted because of that."""
        self.sleeper.wanted.clear()
        self.stranded.reported(Report(node, 0.0, 0.0, 1.0, {cluster: {address: Load(0, 0, failed)}}))
        return list(self.sleeper.wanted)


def test_each_new_failed_attempt_without_an_endpoint_wakes() -> None:
    site = Site()
    assert site.report(2) == ["shop"]
    assert site.report(2) == []
    assert site.report(3) == ["shop"]
    assert site.report(3, node="b") == ["shop"]
    assert site.report(0) == []


@pytest.mark.parametrize(
    ("cluster", "address", "wanted"),
    [
        ("sleep/7/shop/h2", NOWHERE, ["shop"]),
        ("sleep/7/POOL/web", "/dev/null/no-endpoint", ["POOL/web"]),
        ("sleep/7/shop", "10.0.0.1:80", []),
        ("sleep/7/other", NOWHERE, []),
        ("route/shop", NOWHERE, []),
    ],
)
def test_only_attempts_in_clusters_of_units_that_have_lost_their_endpoints_count(
    cluster: str, address: str, wanted: list[str]
) -> None:
    assert Site().report(1, cluster, address) == wanted


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ASLEEP])
def test_only_sleeping_containers_are_woken(phase: Phase) -> None:
    site = Site()
    site.sleeper.phase = phase
    assert site.report(1) == []


def test_containers_that_only_one_path_may_wake_go_on_sleeping() -> None:
    site = Site()
    site.sleeper.start_endpoint = "/wake"
    assert site.report(1) == []
