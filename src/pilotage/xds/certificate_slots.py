"""Assigns certificates to the secrets of a few filter chains. Pure.

A filter chain takes about 1 MB of Envoy's memory, and closing one closes its connections. The certificates that
pilotage obtains therefore share chains, each with a fixed number of secrets, the slots. Envoy chooses among them by
server name. A new certificate goes into a free slot, which changes no chain. If too few slots are free, a larger set of
chains replaces the current one. This happens at most three times.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.xds.resources import Resource
from pilotage.xds.self_signed import PLACEHOLDER
from pilotage.xds.served_certificates import ServedCertificate  # msgspec needs it
from pilotage.xds.server_names import certificate_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.xds.served_certificates import CertificatePair

__all__ = ["MOST_CERTIFICATES", "SLOTS", "CertificateSlots", "SlotChain"]

SLOTS: Final = "automatic/"
"""Prefix of the names of the secrets."""

_SIZES: Final = (16, 64, 256, 1536)
_IN_CHAIN: Final = 64
"""Maximum slots of a chain. Envoy's work for a new chain grows with the square of this number."""
_FULL: Final = 0.7
"""The part of the slots that may be in use. Free ones receive a certificate before its predecessor is removed."""
MOST_CERTIFICATES: Final = int(_SIZES[-1] * _FULL)


class _Slot(msgspec.Struct):
    certificate: ServedCertificate
    resource: Resource
    is_retired: bool = False


class SlotChain(msgspec.Struct, frozen=True):
    """A filter chain.

    Attributes:
        name: name of the filter chain.
        names: the server names for which the chain has certificates.
        secrets: the names of the secrets with these certificates.

    """

    name: str
    names: tuple[str, ...]
    secrets: tuple[str, ...]


class CertificateSlots:
    """The slots of all chains.

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
            Whether any certificates are retired.

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
        return _Slot(certificate, certificate_secret(self._secret_name(index), pair.chain_pem, pair.key_pem))

    def _secret_name(self, index: int) -> str:
        return f"{SLOTS}{self.size}/{index}"

    def _free(self, names: frozenset[str]) -> int:
        """Return a free slot, usually the same one after a restart, so that Envoys need no update then."""
        digest = hashlib.blake2b("\n".join(sorted(names)).encode(), digest_size=4).digest()
        chains, order = self._chains, list[int]()
        place, first = divmod(int.from_bytes(digest, "big"), len(chains))
        for chain in chains[first:] + chains[:first]:  # the next chain only if this one is full
            start = place % len(chain)
            order += [*chain[start:], *chain[:start]]
        free = next((index for index in order if index not in self._slots), None)
        return free if free is not None else next(index for index in order if self._slots[index].is_retired)

    @property
    def _chains(self) -> list[range]:
        """The indexes of the slots of each chain."""
        return [range(start, min(start + _IN_CHAIN, self.size)) for start in range(0, self.size, _IN_CHAIN)]

    @property
    def certificates(self) -> list[ServedCertificate]:
        """The certificates that are not retired."""
        return [slot.certificate for slot in self._slots.values() if not slot.is_retired]

    @property
    def chains(self) -> list[SlotChain]:
        """All chains. The first one also has the name of the placeholder, so that there is always a name."""
        found = []
        for number, indexes in enumerate(self._chains):
            slots = (slot for index in indexes if (slot := self._slots.get(index)) and not slot.is_retired)
            names = {name for slot in slots for name in slot.certificate.names} | (
                {PLACEHOLDER} if not number else set()
            )
            secrets = tuple(map(self._secret_name, indexes))
            found.append(SlotChain(f"automatic {self.size}-{number}", tuple(sorted(names)), secrets))
        return found

    def secrets(self, placeholder: CertificatePair) -> list[Resource]:
        """Return the secrets of all slots.

        Args:
            placeholder: the certificate in free slots.

        """
        if len(self._placeholders) < self.size:
            pair, names = placeholder, map(self._secret_name, range(self.size))
            made = (certificate_secret(name, pair.chain_pem, pair.key_pem) for name in names)
            self._placeholders = dict(enumerate(made))
        return [*(self._placeholders | {index: slot.resource for index, slot in self._slots.items()}).values()]
