from __future__ import annotations

from pilotage.certificates.errors import CertificateError


def test_an_error_shows_what_to_check_and_is_short() -> None:
    error = CertificateError("the CA refuses", "check the DNS records", names=frozenset({"a.example.com"}))
    assert str(error) == "the CA refuses; check the DNS records"
    assert len(CertificateError("x" * 100_000).what) <= 1_001
