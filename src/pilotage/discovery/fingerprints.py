"""Recognizes containers that have not changed since the previous list, mostly without decoding them. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from pilotage.engine.types import DECODE_ERRORS

__all__ = ["Fingerprints"]


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
    """Return entries regardless of their order, because dockerd lists ports and mounts in random order."""
    if not entries:
        return b""
    return bytes(entries[0]) if len(entries) == 1 else frozenset(map(bytes, entries))


_RAW_FIELDS: Final = msgspec.json.Decoder(_RawFields)


class Fingerprints:
    """The last list entry of each container, as hashes.

    Most entries have the same bytes as before. The others are compared by a hash of the fields that can change,
    regardless of the order of ports and mounts.
    """

    def __init__(self) -> None:
        self._of: dict[str, int] = {}  # ID -> hash of its fields
        self._entries: dict[int, str] = {}  # hash of an entry's bytes -> ID
        self._entry_of: dict[str, int] = {}  # ID -> hash of its last entry's bytes

    def __len__(self) -> int:
        return len(self._of) + len(self._entries) + len(self._entry_of)

    def compare(self, raw: msgspec.Raw) -> tuple[str, int, bool]:
        """Compare a list entry with the container's last one.

        Returns:
            The container's ID (``""`` for an unreadable entry), its fingerprint, and whether that is unchanged.

        """
        entry = hash(bytes(raw))
        container_id = self._entries.get(entry, "")
        if container_id:
            return container_id, self._of[container_id], True
        container_id, fingerprint = _fingerprint(raw)
        if not container_id or self._of.get(container_id) != fingerprint:
            return container_id, fingerprint, False
        self._forget_entry(container_id)
        self._entries[entry] = container_id
        self._entry_of[container_id] = entry
        return container_id, fingerprint, True

    def remember(self, container_id: str, fingerprint: int) -> None:
        """Store the fingerprint of a container that has changed."""
        self._of[container_id] = fingerprint
        self._forget_entry(container_id)

    def forget(self, container_id: str) -> None:
        """Forget a container: its next entry counts as changed."""
        self._of.pop(container_id, None)
        self._forget_entry(container_id)

    def _forget_entry(self, container_id: str) -> None:
        entry = self._entry_of.pop(container_id, None)
        if entry is not None:
            del self._entries[entry]


def _fingerprint(raw: msgspec.Raw) -> tuple[str, int]:
    """Return the ID and fingerprint of a list entry without decoding all of it; ``("", 0)`` if it is unreadable."""
    try:
        fields = _RAW_FIELDS.decode(raw)
    except DECODE_ERRORS:
        return "", 0
    return fields.Id, fields.fingerprint()
