"""Builds one route table from the routes of all engines and files. Pure.

Snapshots of engines, route files and single changes go in; an immutable :class:`Table` with all conflicts resolved
comes out. The package also computes the differences between two tables. The package does no I/O and does not know
Envoy. Its results do not depend on the order in which engines first report.
"""

from __future__ import annotations

from pilotage.table.diff import Change, ChangeKind, diff, iter_diff
from pilotage.table.envoys import SILENT, EnvoyState, RouteState, joined
from pilotage.table.hosts import route_claimant
from pilotage.table.precedence import Holder, Rank, Ranking, holder_of, is_draining
from pilotage.table.reserved import HeldName
from pilotage.table.self_signed import SelfSigned
from pilotage.table.snapshot import EngineSnapshot, FoundAgent, build_snapshot
from pilotage.table.store import RouteStore, build_table
from pilotage.table.table import EngineStatus, ProblemKey, Table
from pilotage.table.traffic import RouteTraffic
from pilotage.table.wakefulness import Wakefulness

__all__ = [
    "SILENT",
    "Change",
    "ChangeKind",
    "EngineSnapshot",
    "EngineStatus",
    "EnvoyState",
    "FoundAgent",
    "HeldName",
    "Holder",
    "ProblemKey",
    "Rank",
    "Ranking",
    "RouteState",
    "RouteStore",
    "RouteTraffic",
    "SelfSigned",
    "Table",
    "Wakefulness",
    "build_snapshot",
    "build_table",
    "diff",
    "holder_of",
    "is_draining",
    "iter_diff",
    "joined",
    "route_claimant",
]
