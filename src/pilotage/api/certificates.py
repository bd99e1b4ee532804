"""Reports certificates: as plain data for ``/v1/certificates``, and as Prometheus metrics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from pilotage.api import answers
from pilotage.certificates.status import CertificateEvent, CertificateState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from pilotage.certificates.status import CertificateStatus, CertificateTotals
    from pilotage.table.self_signed import SelfSigned
    from pilotage.table.table import Table

__all__ = [
    "CertificateJson",
    "CertificateList",
    "CertificateMetrics",
    "CertificateResource",
    "CertificateSource",
    "RenewalJson",
    "describe_certificate",
    "explain_certificates",
]

_REFUSED: Final = {"unknown": 404, "elsewhere": 409, "early": 429}  # reason -> HTTP status
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

    def renew(self, name: str) -> tuple[CertificateStatus, ...]:
        """Replace the certificates for a host name soon. Return their previous status; empty without ``autocert``.

        Raises:
            RenewalRefusedError: the request is refused.

        """

    async def root(self) -> bytes | None:
        """Return the root certificate of pilotage's own CA as PEM; ``None`` if there is none.

        Raises:
            StorageError: the root certificate cannot be read.

        """

    def self_signed(self) -> Mapping[str, SelfSigned]:
        """Return alias -> its host names that have only a self-signed certificate."""

    @property
    def on_event(self) -> list[Callable[[CertificateEvent], object]]:
        """Functions that are called with each event."""


class CertificateJson(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate, or names that have none yet. Times are Unix time in seconds; null if they do not apply.

    Attributes:
        names: the host names of the certificate.
        state: `valid`; `expired`; without a valid certificate: `requested` while an order is under way, `failed` after
            a failed attempt, and `waiting` otherwise.
        entry: the section of the configuration that asks for the certificate: `main` or `extra[N]` in `autocert`, or
            `internal` for `gateway.tls`.
        method: how the CA validates the names; `local` for files that another program renews.
        issuer: the name of the certificate's issuer.
        serial: the serial number, in hexadecimal.
        not_before, not_after: the start and the end of the certificate's validity.
        renew_at: when the certificate will be renewed.
        renewal_by_ca: whether the CA suggested the time of the renewal (ARI).
        error: why the last attempt failed, with the CA's own words.
        hint: what to check.
        failures: number of failed attempts in a row.
        next_attempt: when the next attempt begins, if the last attempt failed.
        renewing: whether an order is under way.
        file: path of the certificate chain; empty if the certificate is not stored.

    """

    names: tuple[str, ...]
    state: CertificateState
    entry: str
    method: str
    issuer: str
    serial: str
    not_before: float | None
    not_after: float | None
    renew_at: float | None
    renewal_by_ca: bool
    error: str
    hint: str
    failures: int
    next_attempt: float | None
    renewing: bool
    file: str


class CertificateList(msgspec.Struct, frozen=True):
    """The certificates, and the latest events."""

    certificates: list[CertificateJson]
    events: list[CertificateEvent]


class RenewalJson(msgspec.Struct, frozen=True):
    """The certificates that will be replaced, with their current status."""

    certificates: list[CertificateJson]


def describe_certificate(status: CertificateStatus) -> CertificateJson:
    """Return the status of a certificate as the API serves it."""
    found = msgspec.structs.asdict(status)
    return CertificateJson(**found | {name: found[name] or None for name in _TIMES})


class CertificateResource:
    """Handles the paths that list certificates, request new ones, and return the root of pilotage's own CA.

    Args:
        source: returns the object that obtains certificates; ``None`` while there is none.

    """

    def __init__(self, source: Callable[[], CertificateSource | None]) -> None:
        self._source = source

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the paths."""
        router.add_get("/v1/certificates", self._list)
        router.add_get("/v1/certificates/root", self._root)
        router.add_post("/v1/certificates/{name}/renew", self._renew)

    async def _list(self, _: web.Request) -> web.Response:
        source = self._source()
        found = source.status() if source is not None else ()
        events = source.events if source is not None else ()
        return answers.json(CertificateList(list(map(describe_certificate, found)), list(events)))

    async def _renew(self, request: web.Request) -> web.Response:
        from pilotage.certificates.errors import RenewalRefusedError  # noqa: PLC0415  # not needed without autocert

        source = self._source()
        try:
            found = source.renew(request.match_info["name"].lower()) if source is not None else ()
        except RenewalRefusedError as refusal:
            response = answers.error(_REFUSED[refusal.reason], refusal.what, refusal.hint)
            if refusal.wait:
                response.headers["Retry-After"] = str(math.ceil(refusal.wait))
            return response
        if not found:
            hint = "add autocert or gateway.tls: internal to the configuration"
            return answers.error(404, "pilotage obtains no certificates", hint)
        return answers.json(RenewalJson(list(map(describe_certificate, found))), status=202)

    async def _root(self, _: web.Request) -> web.Response:
        from pilotage.certificates.errors import StorageError  # noqa: PLC0415

        source = self._source()
        try:
            pem = await source.root() if source is not None else None
        except StorageError as error:
            return answers.error(503, str(error), "give pilotage access to the folder for certificates")
        if pem is None:
            hint = "set gateway.tls: internal; the root is made with the first certificate"
            return answers.error(404, "pilotage's own CA has issued no certificate", hint)
        return web.Response(body=pem, content_type="application/x-pem-file")


def explain_certificates(table: Table, source: CertificateSource | None) -> Table:
    """Return a table that also says which routes have only a self-signed certificate."""
    found = source.self_signed() if source is not None else {}
    return msgspec.structs.replace(table, self_signed=found) if found else table


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
