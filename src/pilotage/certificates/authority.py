"""Implements our own CA, for names that no public CA accepts. Blocking: call it in a thread."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pilotage.certificates.errors import CertificateError, StorageError
from pilotage.certificates.orders import Issued
from pilotage.certificates.x509 import EARLY, make_key, pem_of_key, read_pair
from pilotage.core.certificate_builder import key_usage, new_certificate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.certificates.settings import KeyType
    from pilotage.certificates.storage import Storage

__all__ = ["ROOT", "InternalAuthority"]

ROOT: Final = "internal/root.pem"
"""Path of the root certificate in the folder for certificates. Clients must trust this certificate."""

log = logging.getLogger(__name__)

_KEY: Final = "internal/root-key.pem"
_ROOT_YEARS: Final = 10
_LEAF_DAYS: Final = 30


class InternalAuthority:
    """Issues certificates signed by its own root, which it creates on first use.

    Args:
        storage: the folder in which the root and its key are kept.

    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def issue(self, names: Sequence[str], key_type: KeyType, now: float) -> Issued:
        """Issue a certificate.

        Args:
            names: host names of the certificate.
            key_type: type of the certificate's key.
            now: the current time, in seconds since 1970.

        Raises:
            CertificateError: the root cannot be read or kept.

        """
        root, signer = self._root(now)
        if not root.not_valid_before_utc.timestamp() <= now < root.not_valid_after_utc.timestamp():
            span = f"from {root.not_valid_before_utc:%Y-%m-%d %H:%M} to {root.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            folder = self._storage.folder / "internal"
            hint = f"check this machine's clock; if it is right, remove {folder} to make a new root"
            raise CertificateError(f"the root of the internal CA is only valid {span}", hint)
        key = make_key(key_type)
        when = dt.datetime.fromtimestamp(now, dt.UTC)
        end = min(when + dt.timedelta(days=_LEAF_DAYS), root.not_valid_after_utc)
        builder = (
            new_certificate(x509.Name([]), root.subject, key.public_key(), when - EARLY, end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(key_usage(ca=False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        chain = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        private = pem_of_key(key)
        return Issued(chain, private, read_pair(chain, private))

    def _root(self, now: float) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        try:
            certificate, key = self._storage.read_file(ROOT), self._storage.read_file(_KEY)
            if certificate is None or key is None:
                certificate, key = _make_root(now)
                (self._storage.folder / "internal").mkdir(mode=0o700, exist_ok=True)
                self._storage.write(_KEY, key)
                self._storage.write(ROOT, certificate)
                log.info("made the root of pilotage's own CA; 'pilotage certificates root' prints it for clients")
            root = x509.load_pem_x509_certificate(certificate)
            signer = serialization.load_pem_private_key(key, password=None)
        except (StorageError, OSError) as error:
            hint = "free some disk space, or give pilotage access to the folder"
            raise CertificateError(f"cannot save the root certificate of the internal CA: {error}", hint) from error
        except (ValueError, TypeError) as error:
            folder = self._storage.folder / "internal"
            raise CertificateError(
                f"{folder} is damaged: {error}", "remove it; pilotage then creates a new root"
            ) from error
        if not isinstance(signer, ec.EllipticCurvePrivateKey):
            raise CertificateError(
                "the key of the internal CA is not an ECDSA key", "remove it; pilotage then creates a new root"
            )
        return root, signer


def _make_root(now: float) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    when = dt.datetime.fromtimestamp(now, dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pilotage internal CA {when:%Y-%m-%d}")])
    end = when + dt.timedelta(days=365 * _ROOT_YEARS)
    builder = (
        new_certificate(subject, subject, key.public_key(), when - EARLY, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), pem_of_key(key)
