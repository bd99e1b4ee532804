from __future__ import annotations

from pilotage.table.self_signed import SelfSigned


def test_the_remark_names_hosts_time_and_the_last_error() -> None:
    first = SelfSigned(names=("a.example.com", "b.example.com"), since=0.0)
    assert first.remark.startswith("serves a self-signed certificate for a.example.com, b.example.com since ")
    assert first.remark.endswith(":00:00, until the CA has issued one") or first.remark.endswith(
        ":30:00, until the CA has issued one"
    )
    failed = SelfSigned(names=("a.example.com",), since=0.0, error="no DNS", next_attempt=60.0)
    assert "until the CA has issued one; the last attempt failed: no DNS; next attempt " in failed.remark
