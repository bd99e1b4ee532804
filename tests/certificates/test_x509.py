from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pilotage.certificates.x509 import (
    alpn_certificate,
    make_key,
    make_request,
    pem_of_key,
    read_leaf,
    read_pair,
    renewal_id,
)
from pilotage.core.certificate_builder import new_certificate
from tests.support.certificates import stored

if TYPE_CHECKING:
    from pathlib import Path


def test_keys_are_of_the_configured_type() -> None:
    small, large, old = make_key("ec256"), make_key("ec384"), make_key("rsa2048")
    assert isinstance(small, ec.EllipticCurvePrivateKey)
    assert isinstance(large, ec.EllipticCurvePrivateKey)
    assert isinstance(old, rsa.RSAPrivateKey)
    assert (small.curve.name, large.curve.name, old.key_size) == ("secp256r1", "secp384r1", 2048)


def test_a_request_contains_the_names() -> None:
    request = x509.load_pem_x509_csr(make_request(make_key("ec256"), ["a.example.com", "*.b.example.com"]))
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example.com", "*.b.example.com"]


def test_a_pair_must_belong_together(tmp_path: Path) -> None:
    one, two = stored(tmp_path, "a.example.com"), stored(tmp_path, "b.example.com")
    assert read_pair(one.chain, one.key).names == ("a.example.com",)
    with pytest.raises(ValueError, match="does not belong"):
        read_pair(one.chain, two.key)
    for chain, key in (
        (b"", one.key),
        (one.chain, b""),
        (b"-----BEGIN CERTIFICATE-----\n", one.key),
        (one.key, one.key),
    ):
        with pytest.raises(ValueError, match="not a certificate"):
            read_pair(chain, key)


def test_the_answer_to_tls_alpn_01_is_as_the_rfc_demands() -> None:
    digest = hashlib.sha256(b"token.thumbprint").digest()
    chain, key = alpn_certificate("shop.example.com", digest, 1_800_000_000)
    assert read_pair(chain, key).names == ("shop.example.com",)
    (found,) = x509.load_pem_x509_certificates(chain)
    extension = found.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
    assert extension.critical
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    assert extension.value.value == b"\x04\x20" + digest  # an octet string of 32 bytes in DER


def test_the_issuer_is_readable(tmp_path: Path) -> None:
    assert "internal CA" in read_leaf(stored(tmp_path, "a.example.com").chain).issuer
    assert b"PRIVATE KEY" in pem_of_key(make_key("ec256"))


def test_the_identifier_for_renewals_is_that_of_the_rfc() -> None:
    signer, when = make_key("ec256"), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = new_certificate(x509.Name([]), x509.Name([]), signer.public_key(), when, when + dt.timedelta(days=1))
    without = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    assert renewal_id(without) == ""
    issuer = x509.AuthorityKeyIdentifier(bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4"), None, None)
    numbered = builder.add_extension(issuer, critical=False)
    numbered._serial_number = 0x87654321  # the example of RFC 9773, appendix A
    found = numbered.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    assert renewal_id(found) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
