"""Recognizes containers that have not changed since the previous list, mostly without decoding them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.engine.types import DECODE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Fingerprint", "Fingerprints"]

Fingerprint = tuple[int, int]
"""Hash of the fields of a list entry that can change, and hash of all its bytes."""


class _RawFields(msgspec.Struct, gc=False):
    """The fields of a list entry that can change during the life of a container, undecoded."""

    Id: str = ""
    Names: msgspec.Raw = msgspec.Raw()
    Labels: msgspec.Raw = msgspec.Raw()
    Ports: list[msgspec.Raw] | None = None
    NetworkSettings: msgspec.Raw = msgspec.Raw()
    Mounts: list[msgspec.Raw] | None = None
    Health: msgspec.Raw = msgspec.Raw()
    State: str = ""
    Status: str = ""
    Image: str = ""

    def fingerprint(self) -> int:
        # "Up 3 hours (healthy)" changes all the time; only the part in parentheses matters.
        health = self.Status[self.Status.rfind("(") :] if self.Status.endswith(")") else ""
        raw = (self.Names, self.Labels, self.NetworkSettings, self.Health)
        return hash((self.State, self.Image, health, *map(bytes, raw), _unordered(self.Ports), _unordered(self.Mounts)))


def _unordered(entries: list[msgspec.Raw] | None) -> bytes | frozenset[bytes]:
    """Return entries in a form that ignores their order, because dockerd lists ports and mounts in random order."""
    if not entries:
        return b""
    return bytes(entries[0]) if len(entries) == 1 else frozenset(map(bytes, entries))


_RAW_FIELDS: Final = msgspec.json.Decoder(_RawFields)


_VARIANTS: Final = 8  # byte sequences remembered per container; dockerd varies only the order of ports and mounts


class Fingerprints:
    """The last list entries of each container, as hashes.

    Most entries have the same bytes as an earlier entry of the same container. The others are compared by a hash of the
    fields that can change, regardless of the order of ports and mounts.
    """

    def __init__(self) -> None:
        self._of: dict[str, int] = {}  # ID -> hash of its fields
        self._entries: dict[int, str] = {}  # hash of an entry's bytes -> ID
        self._entries_of: dict[str, tuple[int, ...]] = {}  # ID -> hashes of its entries' bytes, oldest first

    def __len__(self) -> int:
        return len(self._of) + len(self._entries) + len(self._entries_of)

    def find(self, entries: Iterable[msgspec.Raw]) -> list[tuple[int, str | None]]:
        """Return the hash of each entry's bytes and, if an earlier entry had the same bytes, its container's ID.

        Most entries need nothing more, so this handles a whole list in one call.
        """
        hashes = list(map(hash, map(bytes, entries)))
        return list(zip(hashes, map(self._entries.get, hashes), strict=True))

    def compare(self, raw: msgspec.Raw, entry: int) -> tuple[str, Fingerprint, bool]:
        """Compare a list entry with the earlier entries of the same container, field by field.

        Args:
            raw: the entry.
            entry: the hash of its bytes, from :meth:`find`.

        Returns:
            The container's ID (``""`` for an unreadable entry), its fingerprint, and whether the fields that can
            change are unchanged.

        """
        container_id, fields = _fingerprint(raw)
        is_same = bool(container_id) and self._of.get(container_id) == fields
        if is_same and entry not in self._entries:
            self._add_entry(container_id, entry)
        return container_id, (fields, entry), is_same

    def remember(self, container_id: str, fingerprint: Fingerprint) -> None:
        """Store the fingerprint of a container that has changed."""
        self._forget_entries(container_id)
        self._of[container_id], entry = fingerprint
        self._add_entry(container_id, entry)

    def _add_entry(self, container_id: str, entry: int) -> None:
        known = self._entries_of.get(container_id, ())
        if len(known) == _VARIANTS:
            self._entries.pop(known[0], None)
            known = known[1:]
        self._entries[entry] = container_id
        self._entries_of[container_id] = (*known, entry)

    def forget(self, container_id: str) -> None:
        """Forget a container: its next entry counts as changed."""
        self._of.pop(container_id, None)
        self._forget_entries(container_id)

    def _forget_entries(self, container_id: str) -> None:
        for entry in self._entries_of.pop(container_id, ()):
            self._entries.pop(entry, None)


def _fingerprint(raw: msgspec.Raw) -> tuple[str, int]:
    """Return the ID and fingerprint of a list entry without decoding all of it; ``("", 0)`` if it is unreadable."""
    try:
        fields = _RAW_FIELDS.decode(raw)
    except DECODE_ERRORS:
        return "", 0
    return fields.Id, fields.fingerprint()
