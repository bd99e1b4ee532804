from __future__ import annotations

from pilotage.table.self_signed import SelfSigned


def test_the_remark_names_hosts_time_and_the_last_error() -> None:
    first = SelfSigned(names=("a.example.com", "b.example.com"), since=0.0)
    assert first.remark.startswith("has had only a self-signed certificate for a.example.com, b.example.com since ")
    assert first.remark.endswith((":00:00; the CA has not issued one yet", ":30:00; the CA has not issued one yet"))
    failed = SelfSigned(names=("a.example.com",), since=0.0, error="no DNS", next_attempt=60.0)
    assert "; the last attempt to obtain one from the CA failed: no DNS; the next begins at " in failed.remark
