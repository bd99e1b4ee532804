"""Waits until all requests that Envoys sent to containers have ended, so that the containers can be stopped."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from pilotage.xds.backend import RESTART_HOLD
from pilotage.xds.filters import AUTH_TIMEOUT
from pilotage.xds.middlewares import route_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pilotage.sleep.activity import Activity
    from pilotage.sleep.datagrams import Datagrams
    from pilotage.sleep.units import GateKeeper, Source, Unit
    from pilotage.xds.resources import Key

__all__ = ["Quiescing"]

_MARGIN: Final = 2.0
_LOOK: Final = 1.0
"""Seconds after which Envoys are checked again even if none has reported."""


class Quiescing:
    """Waits until all requests from Envoys to a unit have ended.

    Args:
        activity: the requests that Envoys have reported.
        keeper: the gateway, which can wait until Envoys have accepted changes.
        source: routes and containers.
        datagrams: the sessions of udp clients.
        clock: returns the time of the monotonic clock.

    """

    def __init__(
        self,
        activity: Activity,
        keeper: GateKeeper,
        source: Source,
        datagrams: Datagrams,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._activity = activity
        self._keeper = keeper
        self._source = source
        self._datagrams = datagrams
        self._clock = clock
        self._reported = asyncio.Event()

    def reported(self) -> None:
        """Let all waiting tasks check again, because an Envoy has sent a load report."""
        self._reported.set()
        self._reported = asyncio.Event()

    async def settle(self, unit: Unit, keys: frozenset[Key]) -> bool:
        """Wait until no request in a unit's clusters of earlier epochs is in progress, then forget these epochs.

        Args:
            unit: the unit.
            keys: the changed resources, which make the Envoys send new requests to another epoch.

        Returns:
            Whether the epochs were forgotten; ``False`` if :meth:`until_quiet` returned ``False``.

        """
        busy = unit.busy
        is_quiet = await self.until_quiet(unit, keys, busy)
        await self._datagrams.until_quiet(unit.aliases)
        if is_quiet:
            unit.busy = tuple(epoch for epoch in unit.busy if epoch not in busy)
        return is_quiet

    async def settle_later(self, unit: Unit) -> None:
        """Wait for as long as requests may be retried, then repeat :meth:`settle` until it succeeds."""
        await asyncio.sleep(RESTART_HOLD)
        while not await self.settle(unit, frozenset()):  # noqa: ASYNC110  Envoys report, or leave
            await asyncio.sleep(_LOOK)

    async def until_quiet(self, unit: Unit, keys: frozenset[Key], epochs: Collection[int]) -> bool:
        """Wait until all Envoys have accepted a change and no request in the epochs' clusters is in progress.

        Args:
            unit: the unit.
            keys: the changed resources, which make the Envoys send new requests to another epoch.
            epochs: numbers of sleeps; each has clusters of its own.

        Returns:
            ``True`` once this is certain; ``False`` if an Envoy has missed several reports, because that Envoy may
            still have such requests.

        """
        acks = asyncio.ensure_future(self._keeper.wait_for_acks(keys))
        try:
            while not (await asyncio.wait({acks}, timeout=_LOOK))[0]:
                if self._activity.silent(self._clock()):
                    return False
            acks.result()
        finally:
            acks.cancel()
        # If the auth service has yet to answer for a request, Envoy has already chosen the cluster of the request.
        limit = self._clock() + AUTH_TIMEOUT + _MARGIN
        return await self._quiet(self._auth_clusters(unit), limit) and await self._quiet(
            [name for epoch in epochs for name in unit.clusters(epoch)]
        )

    async def _quiet(self, clusters: Collection[str], limit: float | None = None) -> bool:
        since = self._clock()
        while not all(self._activity.is_quiet(name, since) for name in clusters):
            now = self._clock()
            if limit is not None and now >= limit:
                return True
            if self._activity.silent(now):
                return False
            waiter = asyncio.ensure_future(self._reported.wait())
            await asyncio.wait({waiter}, timeout=_LOOK)
            waiter.cancel()
        return True

    def _auth_clusters(self, unit: Unit) -> list[str]:
        routes = self._source.table.routes
        found = (route_policy(routes[it].middlewares).auth for it in unit.aliases if it in routes)
        return sorted({f"route/{auth.route}" for auth in found if auth is not None})
