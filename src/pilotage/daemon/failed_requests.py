"""Logs requests that failed because of an odd message of a target or a client."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.text import count, format_duration
from pilotage.xds.failures import Failure

if TYPE_CHECKING:
    from pilotage.xds.failures import Cause

__all__ = ["FailedRequests"]

log = logging.getLogger(__name__)

_INTERVAL: Final = 300.0
"""Seconds after a line until the next one about the same route and cause."""
_MOST: Final = 1_000
"""Maximum number of routes and causes that are limited at the same time. Further failures are not logged."""


class _Kept(msgspec.Struct):
    """The number of failures that have not been logged yet, and the last one."""

    number: int = 0
    last: Failure | None = None


class FailedRequests:
    """Logs the first failure of each route and cause at once, and then how many have followed, every five minutes."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, Cause], _Kept] = {}

    def add(self, failure: Failure) -> None:
        """Log a failure, or count it."""
        key = failure.route, failure.cause
        kept = self._kept.get(key)
        if kept is not None:
            kept.number += 1
            kept.last = failure
        elif len(self._kept) < _MOST:
            _write(failure, "")
            self._remember(key)

    def _remember(self, key: tuple[str, Cause]) -> None:
        self._kept[key] = _Kept()
        asyncio.get_running_loop().call_later(_INTERVAL, self._report, key)

    def _report(self, key: tuple[str, Cause]) -> None:
        """Log the number of failures since the last line. If there were none, log the next one immediately."""
        kept = self._kept.pop(key)
        if kept.last is not None:
            followed = f"at least {count(kept.number, 'more request')} in {format_duration(_INTERVAL)}"
            _write(kept.last, f"; {followed}, of which this was the last")
            self._remember(key)


def _write(failure: Failure, more: str) -> None:
    """Write a line. What a client does wrong is only information, because anybody can do so at any time."""
    cause = failure.cause
    where = f"route {failure.route}: " if failure.route else ""
    sender = f"from {failure.client}" if cause.is_clients and failure.client else ""
    request = " ".join(filter(None, (failure.request, sender, f"to {failure.target}" if failure.target else "")))
    status = f"status {failure.status}" if failure.status else "no response"
    facts = ", ".join(filter(None, (request, status, failure.reason)))
    level = logging.INFO if cause.is_clients else logging.WARNING
    log.log(level, "%s%s (%s)%s; %s", where, cause.words, facts, more, cause.advice)
