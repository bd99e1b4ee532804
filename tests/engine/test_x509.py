from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from pilotage.engine.x509 import read_certificate, read_certificates
from tests.support.tls import Authority, bare_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

BEGIN, END = dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC), dt.datetime(3019, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def make(
    subject: dict[x509.ObjectIdentifier, str],
    *,
    names: list[x509.GeneralName] | None = None,
    purposes: list[x509.ObjectIdentifier] | None = None,
    key: CertificateIssuerPrivateKeyTypes | None = None,
) -> bytes:
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in subject.items()])
    issuer = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "The Issuer")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(2**158).not_valid_before(BEGIN).not_valid_after(END)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


WHOLE = make({NameOID.COMMON_NAME: "x"}, names=[x509.DNSName("h")], purposes=[ExtendedKeyUsageOID.CLIENT_AUTH])


def test_names_dates_and_hosts_are_read() -> None:
    names: list[x509.GeneralName] = [
        x509.DNSName("host.example"),
        x509.RFC822Name("me@host.example"),
        x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("fd00::1")),
    ]
    found = read_certificate(make({NameOID.ORGANIZATION_NAME: "Us", NameOID.COMMON_NAME: "Ö"}, names=names))
    assert (found.subject, found.issuer) == ("Ö", "The Issuer")
    assert (found.not_before, found.not_after) == (BEGIN, END)
    assert found.names == ("host.example", "10.0.0.1", "fd00::1")


@pytest.mark.parametrize(
    ("purposes", "for_clients"),
    [
        ([], True),
        ([ExtendedKeyUsageOID.CLIENT_AUTH], True),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], True),
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], True),
        ([ExtendedKeyUsageOID.SERVER_AUTH], False),
        ([ExtendedKeyUsageOID.CODE_SIGNING], False),
    ],
)
def test_a_certificate_serves_clients_unless_its_purposes_leave_them_out(
    purposes: list[x509.ObjectIdentifier], for_clients: bool
) -> None:
    assert read_certificate(make({}, purposes=purposes)).for_clients is for_clients


def test_a_subject_without_a_common_name_uses_its_other_parts() -> None:
    assert read_certificate(make({NameOID.ORGANIZATION_NAME: "Us"})).subject == "Us"
    assert read_certificate(make({NameOID.COUNTRY_NAME: "NO"})).subject == "NO"
    assert read_certificate(make({})).subject == "nobody"


def test_keys_of_other_kinds_do_not_matter() -> None:
    key = rsa.generate_private_key(65537, 2048)
    assert read_certificate(make({NameOID.COMMON_NAME: "rsa"}, key=key)).subject == "rsa"


def test_all_certificates_of_a_file_are_parsed_except_damaged_ones(tmp_path: Path) -> None:
    one, two = (ssl.DER_cert_to_PEM_cert(make({NameOID.COMMON_NAME: name})) for name in ("one", "two"))
    damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    file = tmp_path / "many.pem"
    file.write_text(f"a comment\n{one}{damaged}\n{two}")
    assert [found.subject for found in read_certificates(str(file))] == ["one", "two"]
    assert read_certificates(str(tmp_path / "missing.pem")) == []


def test_certificates_of_common_issuers_are_parsed(tmp_path: Path) -> None:
    cert, _ = Authority(tmp_path, "house").issue("engine", "localhost", "127.0.0.1")
    (found,) = read_certificates(cert)
    assert (found.subject, found.issuer, found.names) == ("engine", "house", ("localhost", "127.0.0.1"))
    files, _ = bare_recipe(tmp_path)
    (leaf,) = read_certificates(files.cert_file)
    assert (leaf.subject, leaf.issuer, leaf.for_clients) == ("recipe leaf", "recipe ca", False)


@given(at=st.integers(0, 299), byte=st.integers(0, 255), how=st.sampled_from(["end", "byte", "begin"]))
def test_invalid_data_raises_value_error(at: int, byte: int, how: str) -> None:
    damaged = {"end": WHOLE[:at], "byte": WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :], "begin": WHOLE[at:]}[how]
    with contextlib.suppress(ValueError):
        read_certificate(damaged)


def test_a_file_without_certificates_is_empty() -> None:
    for data in (b"", b"\x30", b"\x30\x03abc", b"no certificate"):
        with pytest.raises(ValueError, match="not a certificate"):
            read_certificate(data)
