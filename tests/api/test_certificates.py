from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from pilotage.api.certificates import (
    CertificateMetrics,
    CertificateResource,
    describe_certificate,
    explain_certificates,
)
from pilotage.certificates.errors import RenewalRefusedError, StorageError
from pilotage.certificates.status import CertificateEvent, CertificateStatus, CertificateTotals
from pilotage.table.self_signed import SelfSigned
from pilotage.table.table import Table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

VALID = CertificateStatus(
    names=("a.example.com", "b.example.com"), state="valid", issuer="CA", not_before=1.0, not_after=90.0, renew_at=60.0
)
MISSING = CertificateStatus(names=("c.example.com",), state="failed", error="no", failures=3, next_attempt=7.0)
EVENT = CertificateEvent("issued", ("a.example.com",), 5.0, "by CA")


class Source:
    def __init__(self, *found: CertificateStatus, totals: CertificateTotals | None = None) -> None:
        self.found = found
        self.totals = totals or CertificateTotals()
        self.events = [EVENT]
        self.on_event: list[Callable[[CertificateEvent], object]] = []
        self.pem: bytes | None = None

    def renew(self, name: str) -> tuple[CertificateStatus, ...]:
        if name == "elsewhere":
            raise RenewalRefusedError("another one renews", "ask it", reason="elsewhere")
        return self.found

    def self_signed(self) -> dict[str, SelfSigned]:
        return {"app": SelfSigned(names=("app.example.com",), since=5.0)} if self.found else {}

    async def root(self) -> bytes | None:
        if self.pem == b"":
            raise StorageError("disk on fire")
        return self.pem

    def status(self) -> tuple[CertificateStatus, ...]:
        return self.found


def test_times_that_do_not_apply_are_null() -> None:
    found = describe_certificate(MISSING)
    assert (found.not_after, found.renew_at, found.next_attempt) == (None, None, 7.0)


@contextlib.asynccontextmanager
async def resource(source: Source) -> AsyncIterator[aiohttp.ClientSession]:
    app = web.Application()
    CertificateResource(lambda: source).add_to(app.router)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield session
    finally:
        await runner.cleanup()


async def test_certificates_are_served() -> None:
    async with resource(Source(VALID)) as session, session.get("/v1/certificates") as answer:
        found = await answer.json()
    assert found["certificates"][0]["names"] == ["a.example.com", "b.example.com"]
    assert found["events"][0]["kind"] == "issued"


async def test_refused_renewals_and_an_unreadable_root_say_why() -> None:
    source = Source()
    async with resource(source) as session:
        for name, status, text in (
            ("elsewhere", 409, "another one renews"),
            ("a.example.com", 404, "pilotage obtains no certificates"),
        ):
            async with session.post(f"/v1/certificates/{name}/renew") as answer:
                assert (answer.status, (await answer.json())["error"]) == (status, text)
        source.pem = b""
        async with session.get("/v1/certificates/root") as answer:
            assert (answer.status, (await answer.json())["error"]) == (503, "disk on fire")


def test_a_table_says_which_routes_have_only_a_self_signed_certificate() -> None:
    table = Table(version=3)
    assert explain_certificates(table, None) is table
    assert explain_certificates(table, Source()) is table
    found = explain_certificates(table, Source(MISSING))
    assert (found.version, set(found.self_signed)) == (3, {"app"})


def test_metrics_show_expiry_failures_and_totals() -> None:
    registry = CollectorRegistry()
    registry.register(CertificateMetrics(Source(VALID, MISSING, totals=CertificateTotals(1, 2, 3))))
    text = generate_latest(registry).decode()
    assert 'pilotage_certificate_expiry_timestamp_seconds{name="a.example.com"} 90.0' in text
    assert 'pilotage_certificate_failed_attempts{name="c.example.com"} 3.0' in text
    assert "pilotage_certificates_missing 1.0" in text
    assert 'pilotage_certificate_events_total{result="renewed"} 2.0' in text


def test_without_certificates_there_are_no_metrics() -> None:
    registry = CollectorRegistry()
    registry.register(CertificateMetrics(Source()))
    assert generate_latest(registry) == b""
