from __future__ import annotations

from pilotage import Table
from pilotage.discovery.update import Update
from pilotage.table.diff import Change


def test_an_update_is_immutable_and_compares_by_identity() -> None:
    changes = (Change("live", engine="local"),)
    one, other = Update(Table(), Table(), changes), Update(Table(), Table(), changes)
    assert one != other
    assert one.changes == other.changes
