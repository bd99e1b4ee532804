"""Chooses which certificate is served for which name. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.xds.served_certificates import CertificatePair, ServedCertificate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.certificates.storage import Stored

__all__ = ["served_certificates"]


def served_certificates(stored: Iterable[Stored], managed: Iterable[str], now: float) -> list[ServedCertificate]:
    """Return the certificates with the names for which each is served.

    If there are several for a name, a valid one is served, and of these the one that expires last. Others are better
    than none: this machine's clock can be wrong, and browsers like a self-signed certificate no more than an expired
    one. A certificate that no managed name needs is left out.

    Args:
        stored: the certificates.
        managed: the names for which clients expect a certificate.
        now: seconds since 1970.

    """
    wanted = set(managed)
    parents = {name.partition(".")[2] for name in wanted}
    taken: set[str] = set()
    found = []
    for it in sorted(stored, key=lambda it: (not it.is_valid(now), -it.leaf.not_after, it.lineage)):
        names = {name for name in it.names if name in wanted or (name[:2] == "*." and name[2:] in parents)} - taken
        if names:
            taken |= names
            found.append(ServedCertificate(frozenset(names), CertificatePair(it.chain, it.key)))
    return found
