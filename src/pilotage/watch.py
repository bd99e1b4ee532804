"""Keeps one engine's containers true, for ever.

Three loops, one inside the other: one look at some containers; a session of event stream and list; sessions again and
again, with pauses between them while the engine is away. Events are only hints, the list is the truth: the stream is
opened first, then everything is listed, and again after every reconnect and every few minutes.

There is no debounce timer. While a request to the engine is under way, ids gather; the next request takes them all. So
a lone change is acted on at once, and a flood costs no more requests than the engine answers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from pilotage.engine.pool import new_client
from pilotage.errors import EngineError, EngineUnreachable
from pilotage.hints import FILTERS, Hint, read_hint
from pilotage.survey import inspected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.containers.container import Container
    from pilotage.engine.address import DockerProviderConfig
    from pilotage.engine.events import EventStream
    from pilotage.engine.pool import Pool, SharedClient
    from pilotage.population import Population
    from pilotage.routes.build import Built

__all__ = ["EngineWatcher", "Sink", "Timing"]

log = logging.getLogger(__name__)


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a watcher is. All in seconds.

    Attributes:
        reconcile: time between two complete lists of a healthy engine.
        silence: after so long without an event the engine is pinged.
        ping: how long the answer to that may take; then the connection counts as dead.
        drain_grace: how long a container that was sent its stop signal counts as about to stop; longer than engines
            wait before they kill (10 s unless set otherwise).
        first_pause: pause after the first failed attempt to reach an engine.
        longest_pause: pauses double up to here. Each is shortened or lengthened by chance by up to a quarter.
        pause_after_session: pause after a session that had listed everything, short for the engine was well.

    """

    reconcile: float = 300.0
    silence: float = 15.0
    ping: float = 10.0
    drain_grace: float = 30.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    pause_after_session: float = 0.5


class Sink(Protocol):
    """Who is told what a watcher finds. None of its methods may wait."""

    def changed(self, changes: Mapping[str, Built | None], causes: Mapping[str, str]) -> None:
        """Containers changed: id -> what comes of them now, ``None`` if gone; id -> event behind it."""

    def live(self) -> None:
        """Tell that everything is known: the first list after a (re)connect has been taken in."""

    def away(self, error: EngineError) -> None:
        """Tell that the engine cannot be reached; what was known stays as it was."""


_SOCKET_LOOK: Final = 0.1  # seconds between two looks at a socket file while its engine is away
_MOST_IDS: Final = 500  # beyond so many at once a complete list is cheaper


class EngineWatcher:
    """Watches one engine. Run :meth:`run` in a task; cancel it to stop.

    Args:
        config: the engine.
        population: its containers; the watcher alone changes it.
        sink: who is told.
        pool: whose connections are used; the running loop's own by default.
        timing: how patient it is.

    Attributes:
        events: how many events were read.
        looks: how many filtered lists were asked for.
        lists: how many complete ones.
        sessions: how many times the engine was (re)connected.

    """

    def __init__(
        self,
        config: DockerProviderConfig,
        population: Population,
        sink: Sink,
        *,
        pool: Pool | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.config = config
        self.population = population
        self.sink = sink
        self.timing = timing or Timing()
        self.events = self.looks = self.lists = self.sessions = 0
        self._pool = pool
        self._pending: dict[str, str] = {}  # id -> cause
        self._gone: set[str] = set()
        self._wanted = asyncio.Event()
        self._heard = 0.0
        self._listed_at = 0.0

    # ---- for ever

    async def run(self) -> None:
        """Watch until cancelled."""
        failures = 0
        while True:
            self._listed_at = 0.0
            marker = _socket_marker(self.config)
            try:
                await self._connected()
            except EngineError as error:
                self.sink.away(error)
            except Exception as error:
                log.exception("engine %s: watching failed", self.config.name)
                self.sink.away(EngineUnreachable(self.config.name, f"internal error: {error!r}", "please report it"))
            failures = 0 if self._listed_at else failures + 1
            await self._pause(failures, marker)

    async def _pause(self, failures: int, marker: tuple[int, int] | None) -> None:
        """Wait before the next attempt, but no longer than until the engine's socket file is made anew."""
        timing = self.timing
        if not failures:
            delay = timing.pause_after_session
        else:
            delay = min(timing.longest_pause, timing.first_pause * 2 ** min(failures - 1, 16))
        delay *= random.uniform(0.75, 1.25)  # noqa: S311  # many engines that come back together shall not be asked at once
        path = _socket_path(self.config)
        if path is None:
            await asyncio.sleep(delay)
            return
        until = time.monotonic() + delay
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _SOCKET_LOOK))
            now = _socket_marker(self.config)
            if now is not None and now != marker:
                return

    # ---- one session

    async def _connected(self) -> None:
        async with await new_client(self.config, pool=self._pool) as client:
            if self.sessions:
                await client.check_connection()  # another engine may have come up at the same address
            self.sessions += 1
            async with client.events(filters=FILTERS) as stream:
                await self._session(client, stream)

    async def _session(self, client: SharedClient, stream: EventStream) -> None:
        """Read events in one task and act on them in another; the first to fail ends both."""
        self._pending.clear()
        self._wanted.clear()
        self._heard = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(stream), name=f"events of {self.config.name}")
                group.create_task(self._act(client), name=f"looks at {self.config.name}")
        except* EngineError as group_error:
            raise _first(group_error) from None

    async def _listen(self, stream: EventStream) -> None:
        async for event in stream:
            self.events += 1
            self._heard = time.monotonic()
            hint = read_hint(event)
            if hint is not None:
                self._take(hint)
        raise EngineUnreachable(self.config.name, "the event stream was closed")

    def _take(self, hint: Hint) -> None:
        """Note what an event asks for. Draining takes effect at once: it comes just before a container stops."""
        population = self.population
        if hint.kind == "gone":
            self._gone.add(hint.container_id)
            self._pending.pop(hint.container_id, None)
        if not population.matters(hint):
            return
        if hint.kind == "draining":
            self._tell(
                population.drain(hint.container_id, time.monotonic() + self.timing.drain_grace),
                {hint.container_id: hint.cause},
            )
            self._wanted.set()  # so that its end is waited for
        elif hint.kind == "gone":
            self._tell(population.apply((), gone=(hint.container_id,)), {hint.container_id: hint.cause})
        else:
            if hint.kind == "back":
                self._tell(population.undrain(only=hint.container_id), {hint.container_id: hint.cause})
            self._pending[hint.container_id] = hint.cause
            self._wanted.set()

    async def _act(self, client: SharedClient) -> None:
        """List everything, then look at what events point to, until the engine fails."""
        await self._list_all(client)
        self.sink.live()
        while True:
            await self._wait()
            now = time.monotonic()
            self._tell(self.population.undrain(now), {})
            if len(self._pending) > _MOST_IDS or now - self._listed_at >= self.timing.reconcile:
                await self._list_all(client)
            elif self._pending:
                await self._look(client)
            elif now - self._heard >= self.timing.silence:
                await self._ping(client)

    async def _wait(self) -> None:
        """Wait for an event that asks for something, or for the next thing that is due by time."""
        due = [self._heard + self.timing.silence, self._listed_at + self.timing.reconcile]
        due += self.population.draining.values()
        try:
            async with asyncio.timeout(max(0.0, min(due) - time.monotonic())):
                await self._wanted.wait()
        except TimeoutError:
            pass
        self._wanted.clear()

    async def _ping(self, client: SharedClient) -> None:
        """Make sure that a silent engine is alive: a dead connection says nothing either."""
        try:
            async with asyncio.timeout(self.timing.ping):
                await client.ping()
        except TimeoutError:
            what = f"no event for {self.timing.silence:g} s, and no answer to a ping within {self.timing.ping:g} s"
            raise EngineUnreachable(self.config.name, what) from None
        self._heard = time.monotonic()

    # ---- one look

    async def _look(self, client: SharedClient) -> None:
        """Look at the containers that events pointed to, all in one request."""
        pending, self._pending = self._pending, {}
        self._gone.clear()
        self.looks += 1
        raws = await client.list_containers(ids=pending)
        same, changed = self.population.sort_out(raws)
        changed = await inspected(changed, client)
        found = same | {container.container_id for container in changed}
        self._tell(
            self.population.apply(self._there(changed), gone=[i for i in pending if i not in found]),
            pending,
        )

    async def _list_all(self, client: SharedClient) -> None:
        """Look at everything; whatever the list does not hold is gone."""
        pending, self._pending = self._pending, {}
        self._gone.clear()
        self.lists += 1
        same, changed = self.population.sort_out(await client.list_containers())
        changed = await inspected(changed, client)
        present = same | {container.container_id for container in changed}
        self._listed_at = time.monotonic()
        self._tell(self.population.apply(self._there(changed), present=present), pending)

    def _there(self, changed: list[Container]) -> list[Container]:
        """Leave out containers that were destroyed while the engine was answering about them."""
        return [container for container in changed if container.container_id not in self._gone]

    def _tell(self, changes: Mapping[str, Built | None], causes: Mapping[str, str]) -> None:
        if changes:
            self.sink.changed(changes, causes)


def _first(group: BaseExceptionGroup[EngineError]) -> EngineError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, EngineError)  # noqa: S101  # by except*
    return error


def _socket_path(config: DockerProviderConfig) -> str | None:
    return config.url.removeprefix("unix://") if config.url.startswith("unix://") else None


def _socket_marker(config: DockerProviderConfig) -> tuple[int, int] | None:
    """Return what tells one socket file from the next at the same path; ``None`` where there is none."""
    path = _socket_path(config)
    if path is None:
        return None
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns
