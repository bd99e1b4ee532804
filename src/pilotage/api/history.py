"""Remembers the latest changes of the table, for ``/v1/changes`` and for the page of a route. Pure.

:meth:`ChangeHistory.add` takes each update of one subscription. :meth:`ChangeHistory.select` returns the changes that
match a :class:`ChangeFilter`, the newest first.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.output.changelog import describe_change
from pilotage.output.json import ProblemJson, describe_problem
from pilotage.table.diff import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.discovery.update import Update
    from pilotage.table.diff import Change

__all__ = ["MOST_CHANGES", "ChangeFilter", "ChangeHistory", "RecordedChange"]

MOST_CHANGES: Final = 1_000
"""Maximum number of changes to remember."""


class RecordedChange(msgspec.Struct, frozen=True, gc=False):
    """A change of the table.

    Attributes:
        id: consecutive number of the change, from 1.
        time: Unix time in seconds when the change was recorded.
        version: version of the table that the change led to.
        kind: the kind of change; see :class:`~pilotage.table.diff.Change`.
        alias: the route's alias; ``""`` for a change of an engine, and for a problem that is not about one route.
        engine: the engine, or the file that defines the route.
        fields: names of the changed fields of the route, for ``updated`` and ``draining``.
        cause: the event that led to the change; ``""`` if it is unknown.
        text: the change as readable text.
        problem: the problem that appeared or was resolved.

    """

    id: int
    time: float
    version: int
    kind: ChangeKind
    alias: str
    engine: str
    fields: tuple[str, ...]
    cause: str
    text: str
    problem: ProblemJson | None = None


class ChangeFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects changes. An empty attribute does not restrict the result.

    Attributes:
        since: only changes that led to a later version of the table than this one.
        alias: only changes of this route.
        engine: only changes of this engine, or of routes in this file.
        kinds: only changes of these kinds.
        limit: at most this many; 0 for all.

    """

    since: int = 0
    alias: str = ""
    engine: str = ""
    kinds: frozenset[str] = frozenset()
    limit: int = 0

    def matches(self, change: RecordedChange) -> bool:
        """Return whether a change matches the filter, apart from its version."""
        return (
            self.alias in ("", change.alias)
            and self.engine in ("", change.engine)
            and (not self.kinds or change.kind in self.kinds)
        )


class ChangeHistory:
    """The latest changes.

    Args:
        most: maximum number of changes to remember.

    Attributes:
        instance: a random text that identifies this history. In another history, ``version`` and ``id`` begin again.
        last_id: ``id`` of the newest change; 0 before the first change.

    """

    def __init__(self, most: int = MOST_CHANGES) -> None:
        self.instance = secrets.token_hex(6)
        self.last_id = 0
        self._changes: deque[RecordedChange] = deque(maxlen=most)
        self._most = most
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._changes)

    def add(self, update: Update) -> None:
        """Record the changes in an update. If there are too many, record only the last ones."""
        now = time.time()
        surplus = max(0, len(update.changes) - self._most)
        self.last_id += surplus
        for change in islice(update.changes, surplus, None):
            self.last_id += 1
            if len(self._changes) == self._most:
                self._forgotten = self._changes[0].version
            self._changes.append(_recorded(change, update, self.last_id, now))
        if surplus:
            self._forgotten = update.new.version

    def is_complete(self, since: int, version: int) -> bool:
        """Return whether all changes between two versions of the table are still remembered.

        Args:
            since: the earlier version.
            version: the current version. If ``since`` is later, it is a version of another instance.

        """
        return self._forgotten <= since <= version

    def select(self, wanted: ChangeFilter = ChangeFilter()) -> Iterator[RecordedChange]:  # noqa: B008  # immutable
        """Yield the changes that match a filter, the newest first."""
        found = self._newer(wanted.since)
        return islice((change for change in found if wanted.matches(change)), wanted.limit or None)

    def _newer(self, since: int) -> Iterator[RecordedChange]:
        for change in reversed(self._changes):
            if change.version <= since:
                return
            yield change


def _recorded(change: Change, update: Update, number: int, now: float) -> RecordedChange:
    return RecordedChange(
        id=number,
        time=now,
        version=update.new.version,
        kind=change.kind,
        alias=change.alias,
        engine=change.engine,
        fields=change.fields,
        cause=change.cause,
        text=describe_change(change, update.old),
        problem=None if change.problem is None else describe_problem(change.problem),
    )
