"""Determines from load reports whether requests to a cluster are in progress. The caller passes in the time.

An Envoy that has missed several reports may have requests in progress, so it counts as busy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pilotage.xds.load_reports import Report

__all__ = ["Activity"]

_UNNAMED: Final = "without a name"
_LATE: Final = 1.5
"""Number of intervals after which a report is late."""
_MISSED: Final = 3
"""Number of intervals without a report after which an Envoy counts as busy."""


class Activity:
    """Determines which clusters have requests in progress, from the load reports of the connected Envoys.

    Args:
        reports: returns the last report of each connected Envoy.
        envoys: returns the number of connected Envoys.

    """

    def __init__(self, reports: Callable[[], Sequence[Report]], envoys: Callable[[], int] = lambda: 0) -> None:
        self._reports = reports
        self._envoys = envoys
        self._issued: dict[int, dict[str, int]] = {}  # id of a report -> cluster -> requests issued so far

    @property
    def interval(self) -> float:
        """The longest interval between two reports of an Envoy, in seconds; 0 without Envoys."""
        return max((report.interval for report in self._reports()), default=0.0)

    @property
    def _silent(self) -> int:
        """Number of connected Envoys that have not sent any report yet."""
        return max(0, self._envoys() - len(self._reports()))

    def silent(self, now: float) -> list[str]:
        """Return node IDs of Envoys that have missed three reports; ``without a name`` for one without reports."""
        late = [it.node or _UNNAMED for it in self._reports() if now - it.at > _MISSED * it.interval]
        return sorted(late) + [_UNNAMED] * self._silent

    def is_current(self, now: float) -> bool:
        """Return whether every connected Envoy has sent a report within the last one and a half intervals."""
        return not self._silent and all(now - it.at <= _LATE * it.interval for it in self._reports())

    def in_progress(self, cluster: str, now: float) -> int:
        """Return the number of requests in progress to a cluster. An Envoy that has missed reports counts as 1."""
        total = self._silent
        for report in self._reports():
            if now - report.at > _MISSED * report.interval:
                total += 1
            else:
                total += sum(load.in_progress for load in report.loads.get(cluster, {}).values())
        return total

    def is_quiet(self, cluster: str, since: float) -> bool:
        """Return whether every Envoy has reported that no request to a cluster is in progress.

        Args:
            cluster: name of the cluster.
            since: loop time. The result is ``False`` until every Envoy's last report covers only time after it.

        """
        return not self._silent and all(
            report.begun >= since and not any(load.in_progress for load in report.loads.get(cluster, {}).values())
            for report in self._reports()
        )

    def changes(self, report: Report) -> dict[str, int]:
        """Return cluster of a route that can sleep -> number of requests issued since the Envoy's previous report."""
        before = self._issued.get(id(report), {})
        now = {
            cluster: sum(load.issued for load in loads.values())
            for cluster, loads in report.loads.items()
            if cluster.startswith("sleep/")
        }
        self._issued[id(report)] = now
        if len(self._issued) > len(self._reports()):
            connected = {id(it) for it in self._reports()}
            self._issued = {key: issued for key, issued in self._issued.items() if key in connected}
        return {cluster: issued - before.get(cluster, 0) for cluster, issued in now.items()}
