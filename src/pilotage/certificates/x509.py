"""Creates keys and certificate requests, and reads the certificates that a CA returns."""

from __future__ import annotations

import base64
import datetime as dt
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from pilotage.core.certificate_builder import new_certificate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.certificates.settings import KeyType

__all__ = [
    "EARLY",
    "Leaf",
    "alpn_certificate",
    "make_key",
    "make_request",
    "pem_of_key",
    "read_leaf",
    "read_pair",
    "renewal_id",
]

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_CURVES: Final = {"ec256": ec.SECP256R1, "ec384": ec.SECP384R1}
_ALPN: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
"""The extension ``id-pe-acmeIdentifier`` (RFC 8737, section 3)."""

EARLY: Final = dt.timedelta(hours=1)
"""Seconds by which the validity of a new certificate begins before the current time, because clocks differ."""


class Leaf(msgspec.Struct, frozen=True):
    """Details of the first certificate of a chain.

    Attributes:
        names: the DNS names for which it is valid, in lower case.
        not_before, not_after: the start and the end of its validity, in seconds since 1970.
        issuer: common name of the issuer or, if there is none, its organization.
        serial: serial number in hexadecimal.

    """

    names: tuple[str, ...]
    not_before: float
    not_after: float
    issuer: str
    serial: str


def make_key(kind: KeyType) -> PrivateKey:
    """Return a new private key."""
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    return rsa.generate_private_key(public_exponent=65537, key_size=int(kind.removeprefix("rsa")))


def pem_of_key(key: PrivateKey) -> bytes:
    """Return a private key as unencrypted PEM (PKCS #8)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_request(key: PrivateKey, names: Sequence[str]) -> bytes:
    """Return a certificate signing request for host names, as PEM. The names are only in its extension."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def read_leaf(chain: bytes) -> Leaf:
    """Read the first certificate of a PEM chain.

    Raises:
        ValueError: the first certificate cannot be read.

    """
    certificate = x509.load_pem_x509_certificates(chain)[0]
    extensions = certificate.extensions
    try:
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(dict.fromkeys(name.lower() for name in found.get_values_for_type(x509.DNSName)))
    except x509.ExtensionNotFound:
        names = ()
    return Leaf(
        names,
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
        _name_of(certificate.issuer),
        f"{certificate.serial_number:x}",
    )


def renewal_id(chain: bytes) -> str:
    """Return how a CA identifies a certificate that is renewed (RFC 9773, section 4.1).

    Args:
        chain: PEM chain that begins with the certificate.

    Returns:
        The identifier; ``""`` if the certificate does not name its issuer's key.

    """
    certificate = x509.load_pem_x509_certificates(chain)[0]
    try:
        issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return ""
    serial = certificate.serial_number
    parts = (issuer or b"", serial.to_bytes(serial.bit_length() // 8 + 1, "big"))  # DER needs a zero before a set bit
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) if issuer else ""


def _name_of(name: x509.Name) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(oid):
            return str(attribute.value)
    return ""


def read_pair(chain: bytes, key: bytes) -> Leaf:
    """Read a certificate chain and check that a private key belongs to it.

    Raises:
        ValueError: the chain or the key cannot be read, or they do not belong together. The message is readable.

    """
    try:
        leaf = read_leaf(chain)
        public = x509.load_pem_x509_certificates(chain)[0].public_key()
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise ValueError(f"not a certificate and its key: {error}") from error
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise ValueError("the key does not belong to the certificate")
    return leaf


def alpn_certificate(host: str, digest: bytes, now: float) -> tuple[bytes, bytes]:
    """Return the self-signed certificate that answers a TLS-ALPN-01 challenge, and its key, as PEM (RFC 8737).

    Args:
        host: the host name under validation.
        digest: SHA-256 digest of the key authorization.
        now: seconds since 1970.

    """
    key = make_key("ec256")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme-tls-1")])
    when = dt.datetime.fromtimestamp(now, dt.UTC)
    builder = (
        new_certificate(subject, subject, key.public_key(), when - EARLY, when + dt.timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(_ALPN, b"\x04\x20" + digest), critical=True)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), pem_of_key(key)
