"""Reads the revocation lists of the authorities whose client certificates routes accept.

This module needs the package ``cryptography``, so it is imported only if the configuration names such a list.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["read_lists"]

_BEGIN: Final = b"-----BEGIN X509 CRL-----"
_END: Final = b"-----END X509 CRL-----"
_LARGEST: Final = 16 * 1024 * 1024  # bytes of a file; about 400,000 revoked certificates


def read_lists(files: Iterable[str], authorities: bytes) -> bytes:
    """Return revocation lists as PEM.

    Args:
        files: paths of the revocation lists.
        authorities: the PEM certificates of the authorities that may have issued the lists.

    Raises:
        OSError, ValueError: a list cannot be read, has expired, or comes from none of the authorities. The message
            names the file.

    """
    issuers = x509.load_pem_x509_certificates(authorities)
    found = []
    for name in files:
        for crl in _lists_in(name):
            _check_time(crl, name)
            if not any(_is_from(crl, issuer) for issuer in issuers if issuer.subject == crl.issuer):
                raise ValueError(f"no authority of the profile issued the revocation list {name}")
            found.append(crl.public_bytes(Encoding.PEM))
    return b"".join(found)


def _lists_in(name: str) -> Iterator[x509.CertificateRevocationList]:
    try:
        with Path(name).open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise OSError(f"cannot read the revocation list {name}: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise ValueError(f"the revocation list {name} has more than {_LARGEST // 1024 // 1024} MiB")
    try:
        if _BEGIN not in content:
            yield x509.load_der_x509_crl(content)
            return
        for part in content.split(_BEGIN)[1:]:
            yield x509.load_pem_x509_crl(_BEGIN + part.partition(_END)[0] + _END + b"\n")
    except ValueError as error:
        raise ValueError(f"{name} is not a revocation list (CRL), PEM or DER") from error


def _check_time(crl: x509.CertificateRevocationList, name: str) -> None:
    now, end = dt.datetime.now(dt.UTC), crl.next_update_utc
    if end is not None and end <= now:
        raise ValueError(f"the revocation list {name} has expired, on {end:%Y-%m-%d %H:%M} UTC")
    if crl.last_update_utc > now:
        raise ValueError(f"the revocation list {name} is valid only from {crl.last_update_utc:%Y-%m-%d %H:%M} UTC")


def _is_from(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        return bool(crl.is_signature_valid(issuer.public_key()))  # type: ignore[arg-type]  # others raise
    except (TypeError, InvalidSignature):
        return False
