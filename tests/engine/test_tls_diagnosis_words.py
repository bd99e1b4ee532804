"""What is said about each TLS failure, and what to do about it, without a connection."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from pilotage.engine.config import TLSFiles
from pilotage.engine.diagnosis import Diagnosis
from pilotage.engine.tls_diagnosis import Peer, Shown, explain_tls, tls_reason
from pilotage.engine.x509 import Certificate

if TYPE_CHECKING:
    from pathlib import Path

FILES = TLSFiles(ca_file="/nowhere/ca.pem")
PEER = Peer("fd00::1", 2376, "h", FILES)
BEGIN, END = datetime(2026, 1, 2, 3, 4, tzinfo=UTC), datetime(2026, 2, 3, 4, 5, tzinfo=UTC)
CERTIFICATE = Certificate("it", "its CA", BEGIN, END, ("a", "b"))
ABOUT_CLIENT = """SSLV3_ALERT_BAD_CERTIFICATE SSLV3_ALERT_CERTIFICATE_EXPIRED SSLV3_ALERT_CERTIFICATE_UNKNOWN
    SSLV3_ALERT_CERTIFICATE_REVOKED SSLV3_ALERT_UNSUPPORTED_CERTIFICATE SSLV3_ALERT_HANDSHAKE_FAILURE
    SSLV3_ALERT_NO_CERTIFICATE TLSV13_ALERT_CERTIFICATE_REQUIRED TLSV1_ALERT_UNKNOWN_CA TLSV1_ALERT_ACCESS_DENIED
    TLSV1_ALERT_CERTIFICATE_REQUIRED TLSV1_ALERT_DECRYPT_ERROR closed"""


def unverified(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, "odd"
    return error


def failed(reason: str) -> ssl.SSLError:
    error = ssl.SSLError()
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("code", "certificate", "what", "remedy"),
    [
        (10, CERTIFICATE, " ('it') expired on 2026-02-03 04:05 UTC", "renew it on the engine"),
        (10, None, " expired", "renew it on the engine"),
        (9, CERTIFICATE, " ('it') is not valid before 2026-01-02 03:04 UTC", "check the clocks of both machines"),
        (9, None, " is not valid", "check the clocks of both machines"),
        *(
            (
                code,
                CERTIFICATE,
                " ('it') is valid for a, b, not for h",
                "use one of these names in the address, or reissue the certificate for this one",
            )
            for code in (62, 64)
        ),
        (
            62,
            None,
            " is valid for no host, not for h",
            "use one of these names in the address, or reissue the certificate for this one",
        ),
        *(
            (
                code,
                CERTIFICATE,
                " ('it') was issued by 'its CA', which is not in /nowhere/ca.pem (it contains no certificate)",
                "set ca_file to the CA that issued the engine's certificate",
            )
            for code in (7, 18, 19, 20, 21)
        ),
        (
            20,
            None,
            " was issued by a CA that is not in /nowhere/ca.pem (it contains no certificate)",
            "set ca_file to the CA that issued the engine's certificate",
        ),
        (23, CERTIFICATE, " ('it') cannot be trusted: odd", "issue a new one"),
    ],
)
def test_the_engines_certificate_may_be_to_blame(
    code: int, certificate: Certificate | None, what: str, remedy: str
) -> None:
    found = explain_tls(unverified(code), Shown(certificate, "closed"), PEER)
    assert found == Diagnosis(f"the certificate of [fd00::1]:2376{what}", remedy)


@pytest.mark.parametrize("files", [None, TLSFiles()])
def test_without_a_ca_file_the_systems_decide(files: TLSFiles | None) -> None:
    found = explain_tls(unverified(20), Shown(CERTIFICATE), Peer("h", 1, "h", files))
    what = "the certificate of h:1 ('it') was issued by 'its CA', which this system does not trust"
    assert found == Diagnosis(what, "set ca_file under `tls:` to its CA")


@pytest.mark.parametrize(
    "reason",
    "WRONG_VERSION_NUMBER RECORD_LAYER_FAILURE HTTP_REQUEST PACKET_LENGTH_TOO_LONG UNEXPECTED_MESSAGE".split(),
)
def test_what_is_listening_may_not_speak_tls(reason: str) -> None:
    expected = Diagnosis(
        "[fd00::1]:2376 does not speak TLS", "use tcp:// without `tls:`, or enable TLS on the engine (--tlsverify)"
    )
    assert explain_tls(failed(reason), Shown(), PEER) == explain_tls(None, Shown(alert=reason), PEER) == expected


@pytest.mark.parametrize(
    "reason", "TLSV1_ALERT_PROTOCOL_VERSION UNSUPPORTED_PROTOCOL NO_PROTOCOLS_AVAILABLE VERSION_TOO_LOW".split()
)
def test_the_engine_may_know_only_old_versions_of_tls(reason: str) -> None:
    expected = Diagnosis("[fd00::1]:2376 supports no secure TLS version (1.2 or newer)", "upgrade the engine")
    assert explain_tls(failed(reason), Shown(), PEER) == explain_tls(None, Shown(alert=reason), PEER) == expected


@pytest.mark.parametrize("alert", ABOUT_CLIENT.split())
def test_the_engine_may_miss_a_client_certificate(alert: str) -> None:
    what, remedy = (
        "the engine requires a client certificate, but `tls:` has none",
        "add cert_file and key_file to `tls:`",
    )
    for files in (None, FILES):
        peer = Peer("h", 1, "h", files)
        assert explain_tls(None, Shown(alert=alert), peer) == Diagnosis(what, remedy)
        if alert != "closed":
            assert explain_tls(failed(alert), Shown(), peer) == Diagnosis(what, remedy)


def test_an_unreadable_client_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    path.write_text("odd")
    files = TLSFiles(cert_file=str(path), key_file="/k")
    found = explain_tls(None, Shown(alert="closed"), Peer("h", 1, "h", files))
    assert found == Diagnosis(f"the engine rejects the client certificate {path}", "check the file")


@pytest.mark.parametrize(
    ("begin", "end", "clients", "what", "remedy"),
    [
        (2020, 2021, True, "('me') expired on 2021-01-01 00:00 UTC", "issue a new one"),
        (2998, 2999, True, "('me') is not valid before 2998-01-01 00:00 UTC", "check the clocks of both machines"),
        (2020, 2999, False, "('me') is not valid for clients", "issue one with extendedKeyUsage=clientAuth"),
    ],
)
def test_the_client_certificate_may_be_to_blame(
    monkeypatch: pytest.MonkeyPatch, begin: int, end: int, clients: bool, what: str, remedy: str
) -> None:
    own = Certificate("me", "my CA", datetime(begin, 1, 1, tzinfo=UTC), datetime(end, 1, 1, tzinfo=UTC), (), clients)
    monkeypatch.setattr("pilotage.engine.tls_diagnosis.read_certificates", lambda _: [own])
    peer = Peer("h", 1, "h", TLSFiles(cert_file="/c", key_file="/k"))
    found = explain_tls(None, Shown(CERTIFICATE, "closed"), peer)
    assert found == Diagnosis(f"the client certificate /c {what}", remedy)


@pytest.mark.parametrize(("certificate", "theirs"), [(CERTIFICATE, " (its own was issued by 'its CA')"), (None, "")])
def test_the_engine_may_trust_another_ca(
    monkeypatch: pytest.MonkeyPatch, certificate: Certificate | None, theirs: str
) -> None:
    own = Certificate("me", "my CA", BEGIN, datetime(2999, 1, 1, tzinfo=UTC))
    monkeypatch.setattr("pilotage.engine.tls_diagnosis.read_certificates", lambda _: [own])
    peer = Peer("h", 1, "h", TLSFiles(cert_file="/c", key_file="/k"))
    assert explain_tls(None, Shown(certificate, "closed"), peer) == Diagnosis(
        f"the engine rejects the client certificate /c ('me', issued by 'my CA'){theirs}",
        "use one issued by the CA that the engine trusts (--tlscacert)",
    )


def test_any_other_failure_is_named() -> None:
    found = Diagnosis("TLS with [fd00::1]:2376 failed: odd thing")
    assert explain_tls(failed("ODD_THING"), Shown(alert="OTHER"), PEER) == found
    assert explain_tls(None, Shown(alert="ODD_THING"), PEER) == found
    assert explain_tls(None, Shown(), PEER) is None


def test_the_tls_error_behind_an_exception_is_found() -> None:
    error, outer = ssl.SSLError(), RuntimeError()
    outer.__cause__ = error
    assert tls_reason(outer) is tls_reason(error) is error
    assert tls_reason(RuntimeError()) is tls_reason(None) is None
