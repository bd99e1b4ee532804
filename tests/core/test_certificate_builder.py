from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pilotage.core.certificate_builder import key_usage, new_certificate

BEGIN, END = (dt.datetime(year, 1, 1, tzinfo=dt.UTC) for year in (2026, 2027))


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@pytest.mark.parametrize("serial", [0, 7])
def test_a_certificate_has_the_given_fields(serial: int) -> None:
    key, signer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    builder = new_certificate(name("a"), name("b"), key.public_key(), BEGIN, END, serial=serial)
    made = builder.sign(signer, hashes.SHA256())
    assert (made.subject, made.issuer, made.public_key()) == (name("a"), name("b"), key.public_key())
    assert (made.not_valid_before_utc, made.not_valid_after_utc) == (BEGIN, END)
    assert made.serial_number == serial or (not serial and made.serial_number > 2**32)


@pytest.mark.parametrize("ca", [True, False])
def test_a_key_signs_certificates_or_handshakes(ca: bool) -> None:
    usage = key_usage(ca=ca)
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (ca, ca, not ca)
