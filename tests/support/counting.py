"""A connection without an engine, which takes virtual time to open and can fail."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from pilotage.core.errors import EngineUnreachable
from pilotage.engine.address import Address
from pilotage.engine.connection import Connection
from tests.support.waiting import until

__all__ = ["A", "B", "CountingConnection", "idle_connections_close", "made", "now"]


class CountingConnection(Connection):
    """Connects in ``delay`` virtual seconds, or fails; records when it was closed."""

    delay = 1.0
    failures = 0
    made: list[CountingConnection]
    failed: asyncio.Event

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.opened = 0
        self.closed_at: float | None = None
        type(self).made.append(self)

    async def _negotiate(self) -> None:
        self.opened += 1
        await asyncio.sleep(type(self).delay)
        if type(self).failures:
            type(self).failures -= 1
            type(self).failed.set()
            raise EngineUnreachable("?", "no luck")
        self._stale = False

    async def close(self) -> None:
        if not self.closed:
            self.closed_at = asyncio.get_running_loop().time()
        await super().close()


A: Final = Address("unix", path="/a.sock")
B: Final = Address("unix", path="/b.sock")


def made() -> list[CountingConnection]:
    """Return the connections that the running test has made."""
    return CountingConnection.made


async def idle_connections_close(released: float) -> None:
    """Wait until the test's connections are closed, and check that they were idle for ten seconds.

    Args:
        released: the loop's time at which the last client was released.

    """
    await until(lambda: all(connection.closed for connection in made()), patience=11)
    assert max(connection.closed_at or 0 for connection in made()) == pytest.approx(released + 10)


def now() -> float:
    """Return the loop's time, which is virtual."""
    return asyncio.get_running_loop().time()
