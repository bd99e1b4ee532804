"""Chooses which certificate is served for which name. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.xds.served_certificates import CertificatePair, ServedCertificate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.certificates.storage import Stored

__all__ = ["served_certificates"]


def served_certificates(stored: Iterable[Stored], managed: Iterable[str], now: float) -> list[ServedCertificate]:
    """Return the valid certificates with the names for which each is served.

    If several certificates are valid for a name, the one that expires last is served. A certificate that no managed
    name needs is left out.

    Args:
        stored: the certificates.
        managed: the names for which clients expect a certificate.
        now: seconds since 1970.

    """
    wanted = set(managed)
    parents = {name.partition(".")[2] for name in wanted}
    taken: set[str] = set()
    found = []
    for it in sorted(stored, key=lambda it: (-it.leaf.not_after, it.lineage)):
        if not it.is_valid(now):
            continue
        names = {name for name in it.names if name in wanted or (name[:2] == "*." and name[2:] in parents)} - taken
        if names:
            taken |= names
            found.append(ServedCertificate(frozenset(names), CertificatePair(it.chain, it.key)))
    return found
