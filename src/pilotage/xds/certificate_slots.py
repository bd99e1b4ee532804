"""Assigns certificates to the secrets of one filter chain. Pure.

A filter chain costs Envoy about 1 MB, and closing one closes its connections. So all certificates that pilotage obtains
share a chain with a fixed number of secrets, the slots. Envoy chooses among them by server name. A new certificate goes
into a free slot, which changes neither the chain nor the listener. If too few slots are free, a larger chain replaces
this one, which happens three times at most.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.xds.resources import Resource
from pilotage.xds.served_certificates import ServedCertificate  # msgspec needs it
from pilotage.xds.server_names import certificate_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pilotage.xds.served_certificates import CertificatePair

__all__ = ["MOST_CERTIFICATES", "SLOTS", "CertificateSlots"]

SLOTS: Final = "automatic/"
"""Prefix of the names of the secrets."""

_SIZES: Final = (16, 64, 256, 1280)
_FULL: Final = 0.8
"""The part of the slots that may be in use. Free ones receive a certificate before its predecessor is removed."""
MOST_CERTIFICATES: Final = int(_SIZES[-1] * _FULL)


class _Slot(msgspec.Struct):
    certificate: ServedCertificate
    resource: Resource
    is_retired: bool = False


class CertificateSlots:
    """The slots of a filter chain.

    Attributes:
        size: number of slots.

    """

    def __init__(self) -> None:
        self.size = _SIZES[0]
        self._slots: dict[int, _Slot] = {}
        self._placeholders: dict[int, Resource] = {}

    def replace(self, certificates: Sequence[ServedCertificate]) -> bool:
        """Serve these certificates, at most :data:`MOST_CERTIFICATES`, and retire all others.

        Retired ones stay in their slots until :meth:`clear`, because Envoy must have their successors first.

        Returns:
            Whether any are retired.

        """
        wanted = {it.names: it for it in reversed(certificates)}  # the first one of equal names
        size = next(size for size in (*_SIZES, len(wanted)) if len(wanted) <= size * _FULL or size > _SIZES[-1])
        if size > self.size:
            self.size = size
            self._slots.clear()
            self._placeholders.clear()
        kept = {}
        for index, slot in self._slots.items():
            new = wanted.get(slot.certificate.names)
            slot.is_retired = new is None or slot.certificate.names in kept
            if new is not None and not slot.is_retired:
                kept[new.names] = index
                if slot.certificate.pair != new.pair:
                    self._slots[index] = self._made(index, new)
        missing = [it for names, it in wanted.items() if names not in kept]
        for certificate in sorted(missing, key=lambda it: sorted(it.names)):
            index = self._free(certificate.names)
            self._slots[index] = self._made(index, certificate)
        return any(slot.is_retired for slot in self._slots.values())

    def clear(self) -> None:
        """Remove retired certificates."""
        self._slots = {index: slot for index, slot in self._slots.items() if not slot.is_retired}

    def _made(self, index: int, certificate: ServedCertificate) -> _Slot:
        pair = certificate.pair
        return _Slot(certificate, certificate_secret(self.secret_names[index], pair.chain_pem, pair.key_pem))

    def _free(self, names: frozenset[str]) -> int:
        """Return a free slot, usually the same one after a restart, so that Envoys need no update then."""
        digest = hashlib.blake2b("\n".join(sorted(names)).encode(), digest_size=4).digest()
        start = int.from_bytes(digest, "big")
        order = [(start + step) % self.size for step in range(self.size)]
        free = [index for index in order if index not in self._slots]
        return (free or [index for index in order if self._slots[index].is_retired])[0]

    @property
    def certificates(self) -> list[ServedCertificate]:
        """The certificates that are not retired."""
        return [slot.certificate for slot in self._slots.values() if not slot.is_retired]

    @property
    def secret_names(self) -> list[str]:
        """The names of the secrets of all slots."""
        return [f"{SLOTS}{self.size}/{index}" for index in range(self.size)]

    def secrets(self, placeholder: CertificatePair) -> Iterable[Resource]:
        """Return the secrets of all slots.

        Args:
            placeholder: the certificate in free slots.

        """
        if len(self._placeholders) < self.size:
            pair = placeholder
            made = (certificate_secret(name, pair.chain_pem, pair.key_pem) for name in self.secret_names)
            self._placeholders = dict(enumerate(made))
        return [*(self._placeholders | {index: slot.resource for index, slot in self._slots.items()}).values()]
