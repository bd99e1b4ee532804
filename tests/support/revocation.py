"""Certificate revocation lists."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

if TYPE_CHECKING:
    import trustme

__all__ = ["revocation_list"]


def revocation_list(
    authority: trustme.CA, *revoked: trustme.LeafCert, days: float = 1.0, encoding: str = "PEM"
) -> bytes:
    """Return a list from an authority with certificates that are no longer valid.

    Args:
        authority: the authority.
        revoked: the certificates.
        days: days until the list expires; negative if it has expired.
        encoding: ``PEM`` or ``DER``.

    """
    now = dt.datetime.now(dt.UTC)
    key: Any = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    begin, end = now - dt.timedelta(days=30), now + dt.timedelta(days=days)
    builder = x509.CertificateRevocationListBuilder(issuer.subject, begin, end)
    for it in revoked:
        leaf = x509.load_pem_x509_certificate(it.cert_chain_pems[0].bytes())
        entry = x509.RevokedCertificateBuilder(leaf.serial_number, begin).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA256()).public_bytes(getattr(serialization.Encoding, encoding))
