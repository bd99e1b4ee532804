"""Defines the certificates that the control plane serves besides those from the operator's files."""

from __future__ import annotations

import msgspec

__all__ = ["CertificatePair", "ServedCertificate"]


class CertificatePair(msgspec.Struct, frozen=True):
    """A certificate and its private key.

    Attributes:
        chain_pem: PEM certificates, the leaf certificate first.
        key_pem: PEM private key, without a password.

    """

    chain_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        """Leave out the key, so that no log or traceback shows it."""
        return f"CertificatePair({len(self.chain_pem)} bytes, key hidden)"


class ServedCertificate(msgspec.Struct, frozen=True):
    """A certificate and the server names for which clients get it.

    Attributes:
        names: host names. A leading ``*.`` stands for one label. A full name takes precedence over a wildcard.
        pair: the certificate and its key.

    """

    names: frozenset[str]
    pair: CertificatePair
