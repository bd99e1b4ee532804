"""Makes self-signed certificates for names that have no other certificate yet, and checks pairs. Pure.

It imports the package ``cryptography`` only when it is used.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from pilotage.core.certificate_builder import new_certificate
from pilotage.core.errors import GatewayError
from pilotage.xds.served_certificates import CertificatePair

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["PLACEHOLDER", "certified_names", "placeholder", "self_signed"]

PLACEHOLDER: Final = "placeholder.invalid"
"""The name in the certificate of free slots. No client asks for it (RFC 6761, 6.4)."""

_ORGANIZATION: Final = "pilotage, self-signed"
_LONGEST_COMMON_NAME: Final = 64  # RFC 5280, upper bound of a common name
_YEARS: Final = 10
_EARLY: Final = dt.timedelta(days=1)  # clocks of clients may be slow
_FIXED_KEY: Final = int.from_bytes(b"pilotage placeholder", "big")
_FIXED_TIME: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def self_signed(name: str) -> CertificatePair:
    """Return a new self-signed certificate for a host name, with an ECDSA P-256 key, valid for 10 years.

    Raises:
        GatewayError: no certificate can be made for this name, or the package ``cryptography`` is not installed.

    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415  # an optional package
    except ImportError as error:
        raise GatewayError("certificates cannot be made, because cryptography is not installed") from error
    try:
        return _made(name, ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC) - _EARLY)
    except ValueError as error:
        raise GatewayError(f"no certificate can be made for the name {name!r}: {error}") from error


def placeholder() -> CertificatePair:
    """Return the certificate of free slots.

    It is always the same, so that Envoys keep it when pilotage restarts. Its key is no secret: it proves nothing.

    Raises:
        GatewayError: the package ``cryptography`` is not installed.

    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    except ImportError as error:
        raise GatewayError("certificates cannot be made, because cryptography is not installed") from error
    return _made(PLACEHOLDER, ec.derive_private_key(_FIXED_KEY, ec.SECP256R1()), _FIXED_TIME, serial=1)


def _made(name: str, key: ec.EllipticCurvePrivateKey, start: dt.datetime, *, serial: int = 0) -> CertificatePair:
    """Return a certificate; with a ``serial`` number, always the same one for the same arguments."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415

    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION)]
    if len(name) <= _LONGEST_COMMON_NAME:
        parts.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    subject = x509.Name(parts)
    end = start + dt.timedelta(days=365 * _YEARS)
    builder = (
        new_certificate(subject, subject, key.public_key(), start, end, serial=serial)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256(), ecdsa_deterministic=bool(serial) or None)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return CertificatePair(certificate.public_bytes(pem), key.private_bytes(pem, form, serialization.NoEncryption()))


def certified_names(pair: CertificatePair) -> frozenset[str]:
    """Return the host names, in lower case, for which a certificate is valid.

    Raises:
        GatewayError: the pair is not a PEM certificate with its key, so Envoy could not use it.

    """
    try:
        from cryptography import x509  # noqa: PLC0415
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    except ImportError as error:
        raise GatewayError("certificates cannot be checked, because cryptography is not installed") from error
    try:
        leaf = x509.load_pem_x509_certificates(pair.chain_pem)[0]
        key = serialization.load_pem_private_key(pair.key_pem, password=None)
        if key.public_key() != leaf.public_key():
            raise GatewayError("the private key does not belong to the certificate")
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return frozenset(name.lower() for name in names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        return frozenset()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise GatewayError("it is not a PEM certificate with its private key") from error
