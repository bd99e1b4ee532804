"""The log of what changes in the table, for those who run a daemon."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotage.discovery.manager import Update
    from pilotage.table.table import Change, Table

__all__ = ["log", "log_change"]

log = logging.getLogger(__name__)


def log_change(change: Change, update: Update) -> None:
    """Log one change of an update: warnings for what fails, news for what recovers, routes for who wants it all."""
    problem = change.problem
    match change.kind:
        case "stale":
            log.warning("engine %s is away, and its routes stay as they were: %s", change.engine, change.cause)
        case "live":
            log.info("engine %s is there", change.engine)
        case "problem" | "conflict" if problem is not None:
            if problem.container or problem.route or problem.file:  # that of an engine has been told above
                log.warning("%s", problem)
        case "resolved":
            log.info("no longer: %s", problem)
        case "health":
            before, now = (_failing(table, change.alias) for table in (update.old, update.new))
            level = logging.WARNING if now - before else logging.INFO if before - now else logging.DEBUG
            log.log(level, "route %s: %s", change.alias, change.cause)
        case _:
            log.debug("%s route %s (%s)", change.kind, change.alias, change.cause or "found")


def _failing(table: Table, alias: str) -> set[str]:
    return {address for address, health in table.health_of(alias).items() if health.state == "unhealthy"}
