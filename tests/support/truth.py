"""Compare a live table with a new scan of all engines, and record its changes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from pilotage.discovery.scan import scan_all
from pilotage.table.store import build_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from pilotage.discovery.manager import DiscoveryManager
    from pilotage.engine.config import DockerProviderConfig
    from pilotage.engine.pool import Pool
    from pilotage.table.diff import Change
    from pilotage.table.table import Table

__all__ = ["Chronicle", "chronicle", "facts", "settled"]


def facts(table: Table) -> tuple[dict[str, Any], list[Any]]:
    """Return the content of a table: routes, excluded ones too, and problems, without the times of staleness."""
    return dict(table.routes), list(table.problems)


async def settled(
    discovery: DiscoveryManager, *configs: DockerProviderConfig, pool: Pool | None = None, patience: float = 20
) -> float:
    """Wait until every engine answers and the live table equals a new scan of all of them.

    Returns:
        The seconds from the moment when the engines answered.

    Raises:
        AssertionError: the table still differs; the message has the difference.

    """
    loop = asyncio.get_running_loop()
    started = 0.0
    end = loop.time() + patience
    while True:
        survey = await scan_all(configs, pool=pool or discovery.pool)
        started = started or (0.0 if survey.errors else loop.time())
        fresh, live = facts(build_table(survey.snapshots)), facts(discovery.table)
        if not survey.errors and fresh == live:
            return loop.time() - started
        if loop.time() > end:
            break
        await asyncio.sleep(0.01)
    if survey.errors:
        raise AssertionError(f"engines do not answer: {survey.errors}")
    odd = [alias for alias in {**fresh[0], **live[0]} if fresh[0].get(alias) != live[0].get(alias)]
    lines = [f"{alias}:\n  is {live[0].get(alias)}\n  shall be {fresh[0].get(alias)}" for alias in odd]
    raise AssertionError("\n".join([*lines, f"problems are {live[1]}", f"shall be {fresh[1]}"]))


class Chronicle:
    """All changes of a discovery in order, without those of the first complete table."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def about(self, alias: str) -> list[str]:
        """Return the kinds of changes of a route, in order."""
        return [change.kind for change in self.changes if change.alias == alias]

    def untouched(self, aliases: Iterable[str]) -> bool:
        """Return whether these routes never changed."""
        return not any(self.about(alias) for alias in aliases)

    def kinds(self, *wanted: str) -> list[str]:
        """Return the kinds of changes of the given engines and routes, in order."""
        return [change.kind for change in self.changes if change.kind in wanted]


@contextlib.asynccontextmanager
async def chronicle(discovery: DiscoveryManager) -> AsyncIterator[Chronicle]:
    """Record the changes of a discovery from now on."""
    written = Chronicle()
    subscription = discovery.subscribe()
    if discovery.table.version:
        await anext(subscription)

    async def write() -> None:
        async for update in subscription:
            written.changes += update.changes

    task = asyncio.create_task(write())
    try:
        yield written
    finally:
        task.cancel()
        await asyncio.wait([task])
        discovery.unsubscribe(subscription)
