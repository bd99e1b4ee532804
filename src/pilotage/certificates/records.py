"""Records which DNS records exist for challenges, so that they are removed even after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.certificates.errors import StorageError

if TYPE_CHECKING:
    from pilotage.certificates.storage import Storage

__all__ = ["Record", "RecordJournal"]

_FILE = "dns-records.json"


class Record(msgspec.Struct, frozen=True):
    """A TXT record: the provider's name in the configuration, the record's name and its value."""

    provider: str
    name: str
    value: str


class RecordJournal:
    """The file that lists the DNS records to remove. A record is added to the file before it is created."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._records: list[Record] | None = None
        self._in_use: set[Record] = set()

    @property
    def records(self) -> tuple[Record, ...]:
        """The records that exist, or may exist."""
        return tuple(self._read())

    @property
    def left_behind(self) -> tuple[Record, ...]:
        """The records that no order of this process needs: an earlier process, or a failed removal, left them."""
        return tuple(record for record in self._read() if record not in self._in_use)

    def add(self, record: Record) -> None:
        """Add a record to the file.

        Raises:
            StorageError: the file cannot be written, so the record must not be created.

        """
        self._write([*self._read(), record])
        self._in_use.add(record)

    def leave(self, record: Record) -> None:
        """Record that no order needs a record any more. The journal keeps it until it is removed."""
        self._in_use.discard(record)

    def remove(self, record: Record) -> None:
        """Forget a record that no longer exists."""
        self._write([known for known in self._read() if known != record])

    def _read(self) -> list[Record]:
        if self._records is None:
            content = self._storage.read_file(_FILE)
            try:
                self._records = msgspec.json.decode(content, type=list[Record]) if content else []
            except msgspec.MsgspecError as error:
                raise StorageError(f"{self._storage.folder / _FILE} is damaged: {error}") from error
        return self._records

    def _write(self, records: list[Record]) -> None:
        self._storage.write(_FILE, msgspec.json.encode(records))
        self._records = records
