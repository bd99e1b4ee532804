from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.certificates.errors import StorageError
from pilotage.certificates.records import Record, RecordJournal
from tests.support.certificates import opened

if TYPE_CHECKING:
    from pathlib import Path

ONE = Record("cloudflare", "_acme-challenge.a.example.com", "value")
TWO = Record("cloudflare", "_acme-challenge.b.example.com", "value")


def test_records_are_known_after_a_crash(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    journal = RecordJournal(storage)
    assert journal.records == ()
    journal.add(ONE)
    journal.add(TWO)
    assert RecordJournal(storage).records == (ONE, TWO)
    journal.remove(ONE)
    assert RecordJournal(storage).records == (TWO,)


def test_records_that_no_order_needs_are_left_behind(tmp_path: Path) -> None:
    journal = RecordJournal(opened(tmp_path))
    journal.add(ONE)
    journal.add(TWO)
    assert not journal.left_behind
    assert RecordJournal(opened(tmp_path)).left_behind == (ONE, TWO)  # after a crash
    journal.leave(ONE)
    assert journal.left_behind == (ONE,)
    journal.remove(ONE)
    assert not journal.left_behind


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    storage.write("dns-records.json", b"{")
    with pytest.raises(StorageError, match="damaged"):
        _ = RecordJournal(storage).records
