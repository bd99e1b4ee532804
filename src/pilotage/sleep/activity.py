"""Adds up what Envoys report about requests. Pure: the caller passes in the time.

Every Envoy reports the requests of each cluster at an interval. An Envoy that has missed several reports may have
requests in progress, so it counts as busy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.xds.load_reports import Load

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Activity"]

_MISSED: Final = 3
"""Number of intervals without a report after which an Envoy counts as busy."""


_NONE: Final = Load()


class _Reporter(msgspec.Struct):
    interval: float
    reported_at: float
    loads: dict[str, Load]
    reports: int = 0


class Activity:
    """What the connected Envoys have reported."""

    def __init__(self) -> None:
        self._reporters: dict[object, _Reporter] = {}

    def connect(self, envoy: object, interval: float, now: float) -> None:
        """Add an Envoy.

        Args:
            envoy: identifies its connection.
            interval: seconds between two of its reports.
            now: the time.

        """
        self._reporters[envoy] = _Reporter(interval, now, {})

    def disconnect(self, envoy: object) -> None:
        """Remove an Envoy."""
        self._reporters.pop(envoy, None)

    def report(self, envoy: object, loads: Mapping[str, Load], now: float) -> None:
        """Record a report, which replaces the last one. Clusters without requests may be missing."""
        reporter = self._reporters.get(envoy)
        if reporter is not None:
            reporter.loads = {cluster: load for cluster, load in loads.items() if load != _NONE}
            reporter.reported_at = now
            reporter.reports += 1

    def in_progress(self, cluster: str, now: float) -> int:
        """Return how many requests of a cluster are in progress in all Envoys; a silent Envoy counts as one."""
        total = 0
        for reporter in self._reporters.values():
            if now - reporter.reported_at > _MISSED * reporter.interval:
                total += 1
            elif load := reporter.loads.get(cluster):
                total += load.in_progress
        return total

    def marks(self) -> dict[object, int]:
        """Return how many reports each Envoy has sent, for :meth:`is_quiet`."""
        return {envoy: reporter.reports for envoy, reporter in self._reporters.items()}

    def is_quiet(self, cluster: str, since: Mapping[object, int]) -> bool:
        """Return whether no Envoy has a request of a cluster in progress, by a report that began after a moment.

        Args:
            cluster: name of the cluster.
            since: the result of :meth:`marks` at that moment. The report after it may have begun earlier, so only the
                second counts.

        """
        return all(
            reporter.reports - since.get(envoy, 0) >= 2 and not reporter.loads.get(cluster, _NONE).in_progress
            for envoy, reporter in self._reporters.items()
        )
