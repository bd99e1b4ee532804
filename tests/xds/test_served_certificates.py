from __future__ import annotations

from pilotage.xds.served_certificates import CertificatePair


def test_a_private_key_is_not_shown() -> None:
    assert "SECRET" not in repr(CertificatePair(b"chain", b"SECRET"))
