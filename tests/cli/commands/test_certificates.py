from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.certificates.status import CertificateStatus
from pilotage.cli import daemon_client
from pilotage.cli.commands import certificates as module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.support.commandline import Said


def test_without_a_daemon_the_command_says_how_to_start_one(pilotage: Callable[..., Said]) -> None:
    said = pilotage("certificates")
    assert said.status == 2
    assert "no daemon is running; start one with 'pilotage serve'" in said.out + said.err


def test_certificates_and_missing_ones_are_listed(
    pilotage: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    valid = CertificateStatus(
        names=("a.example.com",),
        state="valid",
        issuer="R12",
        not_after=1_800_000_000.0,
        renew_at=1_790_000_000.0,
        renewal_by_ca=True,
        file=str(tmp_path / "live" / "a.example.com" / "fullchain.pem"),
    )
    failed = CertificateStatus(names=("b.example.com",), state="failed", error="no", hint="check DNS", next_attempt=1.0)
    monkeypatch.setattr(daemon_client, "certificates_of", lambda _: [valid, failed])
    said = pilotage("certificates")
    assert said.status == 1
    for text in (
        "a.example.com: valid",
        "issued by R12, expires 2027-01-15 08:00 UTC",
        "renewal 2026-09-21 14:13 UTC, as the CA suggests",
        "b.example.com: failed",
        "last error: no; check DNS",
    ):
        assert text in said.out
    assert '"a.example.com"' in pilotage("certificates", "--format", "json").out
    monkeypatch.setattr(daemon_client, "certificates_of", lambda _: [valid])
    assert pilotage("certificates").status == 0
    monkeypatch.setattr(daemon_client, "certificates_of", lambda _: [])
    assert "set autocert or gateway.tls: internal" in pilotage("certificates").out
    assert module.__all__ == ["certificates"]
