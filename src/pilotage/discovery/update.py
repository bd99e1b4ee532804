"""Defines the updates for subscribers to the live table, and the callbacks of a watcher. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from pilotage.table.diff import Change
from pilotage.table.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.core.errors import EngineError
    from pilotage.engine.agents import AgentInfo
    from pilotage.routes.build import Built

__all__ = ["Update", "WatchHandler"]


class Update(msgspec.Struct, frozen=True, eq=False):
    """The changes since a subscriber's previous update.

    Attributes:
        old: the table of the previous update; an empty table in the first update.
        new: the current table.
        changes: the differences, one or more.

    """

    old: Table
    new: Table
    changes: tuple[Change, ...]


class WatchHandler(Protocol):
    """Callbacks of a watcher. They must not block."""

    def on_change(self, changes: Mapping[str, Built | None], causes: Mapping[str, str], *, more: bool = False) -> None:
        """Handle changed containers.

        Args:
            changes: container ID -> its routes and problems; ``None`` if the container is gone.
            causes: container ID -> the event that led to the change, if known.
            more: other changes from the same list follow immediately, so these need not be published yet.

        """

    def prepare(self) -> bool:
        """Do part of the work of publishing the changes received so far. Return whether there is more to do."""

    def on_live(self) -> None:
        """Handle the completion of the first full list after a (re)connect."""

    def on_stale(self, error: EngineError) -> None:
        """Handle a lost or failed connection. The known containers stay as they are."""

    def on_agent(self, info: AgentInfo) -> None:
        """Handle what an agent reports about itself, after each (re)connect and before the first list."""

    def on_flood(self, limit: int) -> None:
        """Report that events for more than ``limit`` containers are dropped; ``limit`` is 0 once the flood is over."""
