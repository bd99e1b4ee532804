"""What a subscriber of the live table receives. Pure."""

from __future__ import annotations

import msgspec

from pilotage.table.diff import Change
from pilotage.table.table import Table

__all__ = ["Update"]


class Update(msgspec.Struct, frozen=True, eq=False):
    """The changes since a subscriber's previous update.

    Attributes:
        old: the table of the previous update; at first the empty table.
        new: the current table.
        changes: the differences, one or more.

    """

    old: Table
    new: Table
    changes: tuple[Change, ...]
