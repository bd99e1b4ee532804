"""Delivers table changes to one subscriber at its own pace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Self

from pilotage.discovery.update import Update
from pilotage.table.diff import iter_diff
from pilotage.table.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.table.diff import Change
    from pilotage.table.store import RouteStore
    from pilotage.table.table import ProblemKey

__all__ = ["Subscription"]

_BATCH: Final = 250  # changes compared before other tasks get a turn
_PRUNE_AT: Final = 1000


class Subscription:
    """The updates of one subscriber: ``async for update in subscription``.

    Updates do not pile up for a slow subscriber. Each update contains the newest table and combines all changes since
    the subscriber's previous update. The iteration ends once discovery has been closed and the last changes have been
    delivered.

    Args:
        store: source of the current table.

    """

    def __init__(self, store: RouteStore) -> None:
        self._store = store
        self._delivered = Table()
        self._aliases: dict[str, str] = {}
        self._keys: set[ProblemKey] = set()
        self._wakeup = asyncio.Event()
        self._closed = False
        self.notify(dict.fromkeys(store.table.routes, ""), set(store.table.problems_by_key))

    def notify(
        self, aliases: Mapping[str, str], problem_keys: Iterable[ProblemKey], health_aliases: Iterable[str] = ()
    ) -> None:
        """Record changes. Never blocks. The size of the tables limits the memory that is used.

        Args:
            aliases: changed alias -> cause.
            problem_keys: keys whose problems changed.
            health_aliases: aliases for which only the endpoint health changed.

        """
        self._aliases.update(aliases)
        for alias in health_aliases:
            self._aliases.setdefault(alias, "")
        self._keys.update(problem_keys)
        old, new = self._delivered, self._store.table
        if len(self._aliases) > _PRUNE_AT + 2 * (len(old.routes) + len(new.routes)):
            self._aliases = {a: cause for a, cause in self._aliases.items() if a in old.routes or a in new.routes}
        if len(self._keys) > _PRUNE_AT + 2 * (len(old.problems_by_key) + len(new.problems_by_key)):
            self._keys = {key for key in self._keys if key in old.problems_by_key or key in new.problems_by_key}
        self._wakeup.set()

    def close(self) -> None:
        """End the iteration once the pending changes have been delivered."""
        self._closed = True
        self._wakeup.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        while True:
            await self._wakeup.wait()
            if not self._closed:
                self._wakeup.clear()
            old, new = self._delivered, self._store.table
            changes = await self._changes(old, new)
            if changes:  # if not, the next update must still start from `old`
                self._delivered = new
                return Update(old, new, changes)
            if self._closed:
                raise StopAsyncIteration

    async def _changes(self, old: Table, new: Table) -> tuple[Change, ...]:
        """Compare the tables in batches, so that thousands of changes do not stop the event loop."""
        aliases, keys = self._aliases, self._keys
        self._aliases, self._keys = {}, set()
        changes = []
        try:
            for change in iter_diff(old, new, aliases=aliases, keys=keys):
                changes.append(change)
                if len(changes) % _BATCH == 0:
                    await asyncio.sleep(0)
        except BaseException:  # cancelled: the changes are still to be delivered
            self._aliases, self._keys = aliases | self._aliases, keys | self._keys
            self._wakeup.set()
            raise
        return tuple(changes)
