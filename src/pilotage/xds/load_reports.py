"""Serves Envoy's load reporting service (LRS), which collects requests per cluster from all connected Envoys.

Envoy counts the requests of every endpoint anyway, so reports do not make requests slower. A report contains the
requests that were issued and completed since the last one, and those in progress: HTTP requests, WebSockets and tcp
connections.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf import duration_pb2

from pilotage.xds.resources import socket_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

__all__ = ["REPORT_INTERVAL", "Load", "LoadReports", "Report"]

REPORT_INTERVAL: Final = 5.0
"""Seconds between two reports of an Envoy."""
_CLUSTERS_PER_SECOND: Final = 500
"""A report takes Envoy 6 µs for each cluster, so reports are less frequent if there are many."""
_MOST_SESSIONS: Final = 200
_MOST_ENDPOINTS: Final = 50_000
"""Maximum number of clusters and endpoints in the reports of one Envoy. The rest of a report is ignored."""


class Load(msgspec.Struct, frozen=True):
    """Counts of requests to one or more endpoints.

    Attributes:
        in_progress: requests that have been sent and are not complete.
        issued: requests sent since the Envoy connected, including retries.
        failed: how many issued requests got no response, or a status of 500 or above. For HTTP routes, failures are
            counted only if :attr:`~pilotage.xds.options.GatewayOptions.report_errors` is set.

    """

    in_progress: int = 0
    issued: int = 0
    failed: int = 0

    def __add__(self, other: Load) -> Load:
        return Load(self.in_progress + other.in_progress, self.issued + other.issued, self.failed + other.failed)


class Report(msgspec.Struct):
    """The load reports of one Envoy.

    Attributes:
        node: the Envoy's node ID.
        at: loop time in seconds at which the Envoy sent its last report or, if it has sent none, connected.
        begun: loop time at which the period that this report covers began.
        interval: seconds between two reports.
        loads: cluster -> address of an endpoint -> counts of requests to this endpoint.

    """

    node: str
    at: float
    begun: float
    interval: float
    loads: dict[str, dict[str, Load]] = {}


class LoadReports:
    """Collects the load reports of all connected Envoys.

    Attributes:
        reports: the last report of each connected Envoy.
        on_report: called with the report of an Envoy whenever that Envoy has sent one.

    Args:
        interval: seconds between two reports.

    """

    def __init__(self, interval: float = REPORT_INTERVAL) -> None:
        self.reports: list[Report] = []
        self.on_report: Callable[[Report], object] = lambda _: None
        self._interval = interval
        self._clusters: tuple[str, ...] | None = None
        self._changes: dict[int, asyncio.Event] = {}
        self._closed = False

    @property
    def interval(self) -> float:
        """Seconds between two reports."""
        return self._interval

    def configure(self, interval: float, clusters: Iterable[str] | None = None) -> None:
        """Change what all Envoys report, and how often.

        Args:
            interval: seconds between two reports.
            clusters: the clusters to report; all if ``None``.

        """
        wanted = None if clusters is None else tuple(sorted(clusters))
        if (interval, wanted) == (self._interval, self._clusters):
            return
        self._interval, self._clusters = interval, wanted
        for report in self.reports:
            report.interval = interval
        for change in self._changes.values():
            change.set()

    def load(self, cluster: str, address: str = "") -> Load:
        """Return all connected Envoys' requests to a cluster or, with ``address``, to one of its endpoints."""
        total = Load()
        for report in self.reports:
            loads = report.loads.get(cluster, {})
            for load in [loads[address]] if address in loads else [] if address else loads.values():
                total += load
        return total

    async def stream(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        """Serve the stream of one Envoy."""
        if len(self.reports) >= _MOST_SESSIONS:
            return
        now = asyncio.get_running_loop().time()
        report, change = Report("", now, now, self._interval), asyncio.Event()
        self.reports.append(report)
        self._changes[id(report)] = change
        change.set()
        reader = asyncio.create_task(self._read(report, requests, change), name="load reports")
        try:
            while True:
                await change.wait()
                change.clear()
                if reader.done() or self._closed:
                    break
                yield self._question(report)
        finally:
            self.reports.remove(report)
            del self._changes[id(report)]
            reader.cancel()
            await asyncio.wait([reader])

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        for change in self._changes.values():
            change.set()

    def _slow_down(self, report: Report, clusters: int, change: asyncio.Event) -> None:
        """Double an Envoy's reporting interval until it is long enough for the Envoy's number of clusters."""
        wanted = self._interval
        while wanted < clusters / _CLUSTERS_PER_SECOND:
            wanted *= 2
        if wanted != report.interval:
            report.interval = wanted
            change.set()

    def _question(self, report: Report) -> Any:
        interval = duration_pb2.Duration()
        interval.FromMicroseconds(round(report.interval * 1_000_000))
        return lrs_pb2.LoadStatsResponse(
            clusters=self._clusters or (),
            send_all_clusters=self._clusters is None,
            load_reporting_interval=interval,
            report_endpoint_granularity=True,
        )

    async def _read(self, report: Report, requests: AsyncIterator[Any], change: asyncio.Event) -> None:
        try:
            async for request in requests:
                report.node = request.node.id or report.node
                _take(report, request)
                now = asyncio.get_running_loop().time()
                report.begun, report.at = report.at, now
                self.on_report(report)
                if self._clusters is None:
                    self._slow_down(report, len(request.cluster_stats), change)
        finally:
            change.set()


def _take(report: Report, request: Any) -> None:
    """Update a report with an Envoy's message: add to the totals, and replace the numbers in progress."""
    number = 0
    loads: dict[str, dict[str, Load]] = {}
    for cluster in request.cluster_stats:
        before = report.loads.get(cluster.cluster_name, {})
        if not before and not cluster.upstream_locality_stats:
            continue
        # Endpoints without a request since the last report are left out.
        found = {address: Load(0, load.issued, load.failed) for address, load in before.items()}
        for locality in cluster.upstream_locality_stats:
            for it in locality.upstream_endpoint_stats or (locality,):
                address = socket_text(it.address) if locality.upstream_endpoint_stats else ""
                found[address] = found.get(address, Load()) + Load(
                    it.total_requests_in_progress, it.total_issued_requests, it.total_error_requests
                )
        number += len(found) + 1
        if number > _MOST_ENDPOINTS:
            break
        if found:
            loads[cluster.cluster_name] = found
    report.loads = loads
