"""Builds the parts that all certificates made by pilotage have in common. Pure.

The package ``cryptography`` is optional, so the functions import it when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

__all__ = ["key_usage", "new_certificate"]


def new_certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificatePublicKeyTypes,
    begin: dt.datetime,
    end: dt.datetime,
    *,
    serial: int = 0,
) -> x509.CertificateBuilder:
    """Return the builder of a certificate, without extensions.

    Args:
        subject: whom the certificate is for.
        issuer: name of the authority that signs the certificate.
        key: the subject's public key.
        begin: when the certificate becomes valid.
        end: when the certificate expires.
        serial: serial number of the certificate; 0 for a random number.

    """
    from cryptography import x509  # noqa: PLC0415

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def key_usage(*, ca: bool) -> x509.KeyUsage:
    """Return the extension that lets a key sign certificates (``ca``), or TLS handshakes."""
    from cryptography import x509  # noqa: PLC0415

    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
