"""Defines what the daemon sends to ``pilotage watch``: its table, then each update. Pure.

The stream consists of frames: four bytes with the length of the body, then the body as MessagePack. The first body is a
:class:`~pilotage.api.snapshot.Snapshot`, and every other one a :class:`TableUpdate`. An empty body means nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from immutables import Map

from pilotage.core.problems import Problem
from pilotage.discovery.update import Update
from pilotage.routes.route import EndpointHealth
from pilotage.table.diff import Change, diff
from pilotage.table.table import EngineStatus, Table
from pilotage.table.wakefulness import Wakefulness

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.table.table import ProblemKey

__all__ = ["LENGTH", "UPDATES_PATH", "TableCopy", "TableUpdate", "frame", "pack_update"]

UPDATES_PATH: Final = "/v1/snapshot/updates"
LENGTH: Final = 4
"""Number of bytes of the length of a frame."""

_OTHERS: Final = ("", "")  # the key of problems that are not in the daemon's table
_NEW_PROBLEMS: Final = frozenset({"problem", "conflict"})
_ROUTE_CHANGES: Final = frozenset({"added", "updated", "draining", "health", "wakefulness"})


class TableUpdate(msgspec.Struct, frozen=True):
    """What has changed in the table. The attributes other than ``changes`` are as in a table.

    Attributes:
        version: the new version.
        changes: the changes, with the new routes.
        health, wakefulness: the health and wakefulness of the changed routes only.
        engines, pool_members, engine_order: the complete new values.
        others: all problems that are not in the table, such as what Envoys reject.

    """

    version: int
    changes: tuple[Change, ...]
    health: dict[str, dict[str, EndpointHealth]]
    wakefulness: dict[str, Wakefulness]
    engines: dict[str, EngineStatus]
    pool_members: dict[str, tuple[str, ...]]
    engine_order: tuple[str, ...]
    others: tuple[Problem, ...] = ()


def frame(body: bytes) -> bytes:
    """Return a body with its length before it."""
    return len(body).to_bytes(LENGTH, "big") + body


def pack_update(update: Update, others: Iterable[Problem] = ()) -> bytes:
    """Return an update of the table as MessagePack; see :attr:`TableUpdate.others`."""
    table, aliases = update.new, {change.alias for change in update.changes} - {""}
    found = TableUpdate(
        table.version,
        update.changes,
        {alias: dict(table.health[alias]) for alias in aliases if alias in table.health},
        {alias: table.wakefulness[alias] for alias in aliases if alias in table.wakefulness},
        dict(table.engines),
        dict(table.pool_members),
        table.engine_order,
        tuple(others),
    )
    return msgspec.msgpack.encode(found)


class TableCopy:
    """A copy of the daemon's table, which follows its updates.

    Args:
        table: the table of the snapshot.

    Attributes:
        table: the table after the last update.

    """

    def __init__(self, table: Table) -> None:
        self.table = msgspec.structs.replace(
            table, routes=Map(table.routes), health=Map(table.health), wakefulness=Map(table.wakefulness)
        )

    def first(self) -> Update:
        """Return the update that leads from an empty table to the present one."""
        empty = Table()
        return Update(empty, self.table, diff(empty, self.table))

    def apply(self, body: bytes) -> Update:
        """Take over an update from :func:`pack_update`.

        Raises:
            msgspec.MsgspecError: the body is not an update.

        """
        sent = msgspec.msgpack.decode(body, type=TableUpdate)
        old = self.table
        routes, health, wakefulness = Map(old.routes), Map(old.health), Map(old.wakefulness)
        for change in sent.changes:
            alias = change.alias
            if change.kind == "removed":
                routes = routes.delete(alias) if alias in routes else routes
            elif change.kind in _ROUTE_CHANGES and change.route is not None:
                routes = routes.set(alias, change.route)
            if alias:
                health = _with(health, alias, sent.health.get(alias))
                wakefulness = _with(wakefulness, alias, sent.wakefulness.get(alias))
        self.table = msgspec.structs.replace(
            old,
            routes=routes,
            problems_by_key=_problems(old.problems_by_key, sent),
            engines=sent.engines,
            version=sent.version,
            health=health,
            pool_members=sent.pool_members,
            engine_order=sent.engine_order,
            wakefulness=wakefulness,
        )
        return Update(old, self.table, sent.changes)


def _with(values: Map, name: str, value: object) -> Map:  # type: ignore[type-arg]
    if value is not None:
        return values.set(name, value)
    return values.delete(name) if name in values else values


def _problems(
    old: Mapping[ProblemKey, tuple[Problem, ...]], sent: TableUpdate
) -> Mapping[ProblemKey, tuple[Problem, ...]]:
    """Return the problems after an update. A new problem is kept under the name of its container."""
    resolved = {change.problem for change in sent.changes if change.kind == "resolved"}
    new = [it for change in sent.changes if change.kind in _NEW_PROBLEMS and (it := change.problem) is not None]
    if not resolved and not new and old.get(_OTHERS, ()) == sent.others:
        return old
    found = {key: tuple(it for it in problems if it not in resolved) for key, problems in old.items()}
    for problem in new:
        key = (problem.provider or problem.file, problem.container or problem.route)
        found[key] = (*found.get(key, ()), problem)
    found[_OTHERS] = sent.others
    return {key: problems for key, problems in found.items() if problems}
