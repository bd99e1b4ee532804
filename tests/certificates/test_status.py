from __future__ import annotations

import msgspec

from pilotage.certificates.status import CertificateStatus, CertificateTotals


def test_a_status_is_plain_data() -> None:
    status = CertificateStatus(names=("a.example.com",), state="waiting")
    assert msgspec.convert(msgspec.to_builtins(status), CertificateStatus) == status
    assert CertificateTotals() == CertificateTotals(0, 0, 0)
