"""Reports certificates: as plain data for ``/v1/certificates``, and as Prometheus metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from pilotage.api import answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from aiohttp import web
    from prometheus_client.core import Metric

    from pilotage.certificates.status import CertificateEvent, CertificateStatus, CertificateTotals

__all__ = ["CertificateMetrics", "CertificateResource", "CertificateSource", "certificate_json"]

_TIMES = ("not_before", "not_after", "renew_at", "next_attempt")


class CertificateSource(Protocol):
    """The object that obtains certificates."""

    def status(self) -> tuple[CertificateStatus, ...]:
        """Return the certificates, and the names that have none."""

    @property
    def totals(self) -> CertificateTotals:
        """What has happened since the start."""

    @property
    def events(self) -> Sequence[CertificateEvent]:
        """The latest events, the newest last."""


def certificate_json(status: CertificateStatus) -> dict[str, Any]:
    """Return the status of a certificate as plain data. Times that do not apply are ``None``."""
    found: dict[str, Any] = msgspec.to_builtins(status)
    return found | {name: found[name] or None for name in _TIMES}


class CertificateResource:
    """Serves ``/v1/certificates``.

    Args:
        source: returns the object that obtains certificates; ``None`` while there is none.

    """

    def __init__(self, source: Callable[[], CertificateSource | None]) -> None:
        self._source = source

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the paths."""
        router.add_get("/v1/certificates", self._list)

    async def _list(self, _: web.Request) -> web.Response:
        source = self._source()
        found = source.status() if source is not None else ()
        events = source.events if source is not None else ()
        return answers.json(
            {
                "certificates": [certificate_json(status) for status in found],
                "events": [msgspec.to_builtins(event) for event in events],
            }
        )


class CertificateMetrics(Collector):
    """The metrics of certificates, read at scrape time.

    Args:
        source: the object that obtains certificates.

    """

    def __init__(self, source: CertificateSource) -> None:
        self._source = source

    def describe(self) -> list[Metric]:
        """Return no metrics. Otherwise, prometheus-client would call ``collect`` before there is any data."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield expiry, failures and totals."""
        found = self._source.status()
        totals = self._source.totals
        if not found and totals == type(totals)():
            return
        expiry = GaugeMetricFamily(
            "pilotage_certificate_expiry_timestamp_seconds", "Unix time when the certificate expires.", labels=["name"]
        )
        renewal = GaugeMetricFamily(
            "pilotage_certificate_renewal_timestamp_seconds", "Unix time of the next renewal.", labels=["name"]
        )
        failures = GaugeMetricFamily(
            "pilotage_certificate_failed_attempts", "Failed attempts in a row.", labels=["name"]
        )
        missing = 0
        latest: dict[str, tuple[float, float]] = {}
        failed: dict[str, int] = {}
        for status in found:
            missing += not status.not_after
            for name in status.names:
                if status.not_after:
                    latest[name] = max(latest.get(name, (0.0, 0.0)), (status.not_after, status.renew_at))
                failed[name] = max(failed.get(name, 0), status.failures)
        for name, (at, renew_at) in latest.items():
            expiry.add_metric([name], at)
            renewal.add_metric([name], renew_at)
        for name, number in failed.items():
            failures.add_metric([name], number)
        yield from (expiry, renewal, failures)
        gap = GaugeMetricFamily("pilotage_certificates_missing", "Names that have no certificate yet.")
        gap.add_metric([], missing)
        yield gap
        events = CounterMetricFamily("pilotage_certificate_events", "Attempts by result.", labels=["result"])
        for result, number in msgspec.structs.asdict(totals).items():
            events.add_metric([result], number)
        yield events
