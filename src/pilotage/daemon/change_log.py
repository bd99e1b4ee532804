"""Logs table changes for operators."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pilotage.core.problems import Problem
    from pilotage.discovery.update import Update
    from pilotage.routes.as_written import AsWritten
    from pilotage.table.diff import Change
    from pilotage.table.table import Table

__all__ = ["log", "log_change", "log_changes", "log_problems"]

log = logging.getLogger(__name__)


_MAX_CHANGES: Final = 200
"""Maximum number of changes logged per update. Logging 100,000 would block the event loop for seconds."""


def log_changes(update: Update) -> None:
    """Log the changes in an update: all changes to engines, and the first 200 others."""
    omitted, left = 0, _MAX_CHANGES
    for change in update.changes:
        if change.kind not in ("stale", "live"):
            if change.kind in ("added", "updated", "draining", "removed") and not log.isEnabledFor(logging.DEBUG):
                continue
            if not left:
                omitted += 1
                continue
            left -= 1
        log_change(change, update)
    if omitted:
        log.warning(
            "%d more changes to routes and problems are not logged; 'pilotage routes' shows the result", omitted
        )


def log_problems(added: list[Problem], resolved: list[Problem], written: AsWritten) -> None:
    """Log new and resolved problems of the gateway, at most 200 in total. ``written`` names their labels."""
    for problem in written(added[:_MAX_CHANGES]):
        log.warning("%s", problem)
    for problem in written(resolved[: max(_MAX_CHANGES - len(added), 0)], resolved=True):
        log.info("resolved: %s", problem)
    if (omitted := len(added) + len(resolved) - _MAX_CHANGES) > 0:
        log.warning("%d more problems are not logged; 'pilotage routes' shows the current ones", omitted)


def log_change(change: Change, update: Update) -> None:
    """Log one change: failures as warnings, recoveries as info, route changes as debug messages."""
    problem = change.problem
    match change.kind:
        case "stale":
            log.warning("engine %s is unreachable; its routes are kept: %s", change.engine, change.cause)
        case "live":
            log.info("engine %s is connected", change.engine)
        case "problem" | "conflict" if problem is not None:
            if problem.container or problem.route or problem.file:  # "stale" logs the problems of engines
                log.warning("%s", problem)
        case "resolved" if problem is not None:
            if problem.container or problem.route or problem.file:  # "live" ends the problems of engines
                log.info("resolved: %s", problem)
        case "health":
            before, now = (_failing(table, change.alias) for table in (update.old, update.new))
            level = logging.WARNING if now - before else logging.INFO if before - now else logging.DEBUG
            log.log(level, "route %s: %s", change.alias, change.cause)
        case _:
            log.debug("%s route %s (%s)", change.kind, change.alias, change.cause or "listed")


def _failing(table: Table, alias: str) -> set[str]:
    return {address for address, health in table.health_of(alias).items() if health.state == "unhealthy"}
