"""Keeps one engine's containers true, for ever.

Three loops, one inside the other: one look at some containers; a session of event stream and list; sessions again and
again, with pauses between them while the engine is away. Events are only hints, the list is the truth: the stream is
opened first, then everything is listed, and again after every reconnect and every few minutes.

There is no debounce timer. While a request to the engine is under way, ids gather; the next request takes them all. So
a lone change is acted on at once, and a flood costs no more requests than the engine answers. Where the list does not
show yet what an event tells (Docker sends some of them a moment too early) it is asked again, a few times.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from pilotage.core.errors import ConfigError, EngineError, EngineRefused, EngineUnreachable
from pilotage.core.gc import gc_paused
from pilotage.discovery.events import FILTERS, Hint, read_hint
from pilotage.discovery.scan import first_error, inspected
from pilotage.engine.pool import new_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Container as Holder

    from pilotage.discovery.state import Population
    from pilotage.engine.address import DockerProviderConfig
    from pilotage.engine.events import EventStream
    from pilotage.engine.pool import Pool, SharedClient
    from pilotage.routes.build import Built

__all__ = ["EngineWatcher", "Sink", "Timing"]

log = logging.getLogger(__name__)


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a watcher is. All in seconds.

    Attributes:
        reconcile: time between two complete lists of a healthy engine, at most; up to a tenth less by chance, for
            many engines shall not be listed all at once.
        reconcile_podman: the same for Podman, some versions of which now and then tell nothing of a container's end.
        silence: after so long without an event the engine is pinged.
        ping: how long the answer to that may take; then the connection counts as dead.
        drain_grace: how long a container that was sent its stop signal counts as about to stop; longer than engines
            wait before they kill (10 s unless set otherwise).
        first_pause: pause after the first failed attempt to reach an engine.
        longest_pause: pauses double up to here. Each is shortened or lengthened by chance by up to a quarter. They
            count from the beginning of an attempt: one that waited in vain for long is repeated at once.
        pause_after_session: pause after a session that had listed everything, short for the engine was well.

    """

    reconcile: float = 300.0
    reconcile_podman: float = 60.0
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


class _Everything:
    def __contains__(self, _: object) -> bool:
        return True


_EVERYTHING: Final = _Everything()
_SOCKET_LOOK: Final = 0.1  # seconds between two looks at a socket file while its engine is away
_TICK: Final = 0.001  # loops wake sleepers a little early, who then must not find that nothing is due yet
_SURVIVED: Final = "it runs on after its stop signal"
_IDS_A_LOOK: Final = 100  # more do not fit into one request; what is left waits for the next look, not for all of them
_CATCH_UP: Final = (
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.28,
)  # seconds between looks at who lags behind its event
_TRIES: Final = 4  # Podman's list fails with status 500 when a container goes while it is being made


class EngineWatcher:
    """Watches one engine. Run :meth:`run` in a task; cancel it to stop.

    Args:
        config: the engine.
        population: its containers; the watcher alone changes it.
        sink: who is told.
        pool: whose connections are used; the running loop's own by default.
        timing: how patient it is.
        on_lag: told how many seconds after an event a change of its container was handed on.

    Attributes:
        events: how many events were read.
        looks: how many filtered lists were asked for.
        lists: how many complete ones.
        sessions: how many times the engine was (re)connected.
        listed_at: when everything was listed last, by the loop's clock; 0 before the first time.

    """

    def __init__(
        self,
        config: DockerProviderConfig,
        population: Population,
        sink: Sink,
        *,
        pool: Pool | None = None,
        timing: Timing | None = None,
        on_lag: Callable[[float], object] | None = None,
    ) -> None:
        self.config = config
        self.population = population
        self.sink = sink
        self.timing = timing or Timing()
        self.events = self.looks = self.lists = self.sessions = 0
        self.listed_at = 0.0
        self._pool = pool
        self._on_lag = on_lag
        self._heard_of: dict[str, float] = {}  # id -> when its first event came that has not been acted on
        self._pending: dict[str, Hint] = {}  # id -> why it is worth a look, oldest first
        self._behind: dict[str, tuple[float, int, Hint]] = {}  # id -> when to look again, how often that was done, why
        self._asked: Holder[str] = ()  # about whom a request is under way
        self._gone: set[str] = set()  # which of those were destroyed meanwhile
        self._wanted = asyncio.Event()
        self._heard = 0.0
        self._reconcile_at = 0.0
        self._was_listed = False

    # ---- for ever

    async def run(self) -> None:
        """Watch until cancelled."""
        failures = 0
        while True:
            self._was_listed = False
            marker = _socket_marker(self.config)
            started = _now()
            sound = True
            try:
                await self._connected()
            except EngineError as error:
                self.sink.away(error)
            except ConfigError as error:  # certificate files that went, a context that was removed
                self.sink.away(EngineUnreachable(self.config.name, "; ".join(p.message for p in error.problems)))
            except Exception as failed:
                sound = False
                cause = _single(failed)
                log.error("engine %s: watching failed: %r", self.config.name, cause)  # noqa: TRY400  # for operators
                log.debug("engine %s", self.config.name, exc_info=cause)
                self.sink.away(EngineUnreachable(self.config.name, f"internal error: {cause!r}", "please report it"))
            failures = 0 if self._was_listed and sound else failures + 1
            await self._pause(failures, started, marker)

    async def _pause(self, failures: int, started: float, marker: tuple[int, int] | None) -> None:
        """Wait before the next attempt, but no longer than until the engine's socket file is made anew."""
        timing = self.timing
        chance = random.uniform(0.75, 1.25)  # noqa: S311  # many engines that come back together shall not be asked at once
        if failures:
            until = started + chance * min(timing.longest_pause, timing.first_pause * 2 ** min(failures - 1, 16))
        else:
            until = _now() + chance * timing.pause_after_session
        if _socket_path(self.config) is None:
            await asyncio.sleep(until - _now())
            return
        while (left := until - _now()) > _TICK:
            now = _socket_marker(self.config)
            if now is not None and now != marker:
                return
            await asyncio.sleep(min(left, _SOCKET_LOOK))

    # ---- one session

    async def _connected(self) -> None:
        async with await new_client(self.config, pool=self._pool) as client:
            if self.sessions:
                await client.check_connection()  # another engine may have come up at the same address
            self.sessions += 1
            self.population.podman = client.kind == "podman"
            async with client.events(filters=FILTERS) as stream:
                await self._session(client, stream)

    async def _session(self, client: SharedClient, stream: EventStream) -> None:
        """Read events in one task and act on them in another; the first to fail ends both."""
        self._pending.clear()
        self._heard_of.clear()
        self._behind.clear()
        self._wanted.clear()
        self._heard = _now()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(stream), name=f"events of {self.config.name}")
                group.create_task(self._act(client), name=f"looks at {self.config.name}")
        except* EngineError as group_error:
            raise first_error(group_error) from None

    async def _listen(self, stream: EventStream) -> None:
        async for event in stream:
            self.events += 1
            self._heard = _now()
            hint = read_hint(event)
            if hint is not None:
                self._take(hint)
        raise EngineUnreachable(self.config.name, "the event stream was closed")

    def _take(self, hint: Hint) -> None:
        """Note what an event asks for. Draining takes effect at once: it comes just before a container stops."""
        container_id, population = hint.container_id, self.population
        unsure = container_id in self._asked
        if hint.kind == "gone":
            for book in (self._pending, self._behind, self._heard_of):
                book.pop(container_id, None)
            if unsure:
                self._gone.add(container_id)
        if not population.matters(hint, unsure=unsure):
            return
        cause = {container_id: hint.cause}
        match hint.kind:
            case "gone":
                self._tell(population.apply((), gone=(container_id,)), cause)
            case "draining":
                self._tell(population.drain(container_id, _now() + self.timing.drain_grace), cause)
                self._wanted.set()  # so that its end is waited for
            case "back":
                self._tell(population.undrain(only=container_id), cause)
                self._want(hint)
            case "look":
                self._want(hint)

    def _want(self, hint: Hint) -> None:
        """Have a look at a container soon. What an earlier event lets expect holds until a later one says otherwise."""
        container_id = hint.container_id
        self._heard_of.setdefault(container_id, _now())
        if hint.expects or hint.kind == "back":
            self._behind.pop(container_id, None)
            self._pending[container_id] = hint
        else:
            self._pending.setdefault(container_id, self._behind.get(container_id, (0.0, 0, hint))[2])
        self._wanted.set()

    async def _act(self, client: SharedClient) -> None:
        """List everything, then look at what events point to, until the engine fails."""
        await self._list_all(client)
        self._was_listed = True
        self.sink.live()
        while True:
            await self._wait()
            now = _now() + _TICK
            undrained = self.population.undrain(now)
            self._tell(undrained, dict.fromkeys(undrained, _SURVIVED))
            for container_id in [i for i, (due, *_) in self._behind.items() if due <= now]:
                self._pending.setdefault(container_id, self._behind[container_id][2])
            if now >= self._reconcile_at:
                await self._list_all(client)
            elif self._pending:
                await self._look(client)
            elif now >= self._heard + self.timing.silence:
                await self._ping(client)

    async def _wait(self) -> None:
        """Wait for an event that asks for something, or for the next thing that is due by time."""
        if not self._pending and not self._wanted.is_set():
            due = min(self._heard + self.timing.silence, self._reconcile_at, *self.population.draining.values())
            due = min(due, *(again for again, *_ in self._behind.values())) if self._behind else due
            try:
                async with asyncio.timeout_at(due):
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
        except EngineRefused:  # a proxy that does not let it pass is a sign of life, too
            pass
        self._heard = _now()

    # ---- one look

    async def _look(self, client: SharedClient) -> None:
        """Look at the containers that events pointed to, as many as fit into one request."""
        ids = list(islice(self._pending, _IDS_A_LOOK))
        await self._see(client, {container_id: self._pending.pop(container_id) for container_id in ids})

    async def _list_all(self, client: SharedClient) -> None:
        """Look at everything; whatever the list does not hold is gone."""
        hints, self._pending = self._pending, {}
        await self._see(client, hints, everything=True)
        early = random.uniform(0.9, 1.0)  # noqa: S311  # see Timing.reconcile
        self.listed_at = _now()
        timing = self.timing
        patience = min(timing.reconcile, timing.reconcile_podman) if self.population.podman else timing.reconcile
        self._reconcile_at = self.listed_at + early * patience

    async def _see(self, client: SharedClient, hints: dict[str, Hint], *, everything: bool = False) -> None:
        """Ask for some containers or all, and take in what the answer shows. Until then nothing is changed."""
        population = self.population
        self._asked = _EVERYTHING if everything else hints
        try:
            raws = await self._ask(client, None if everything else hints)
            with gc_paused(len(raws)):
                sighting = population.sort_out(raws)
            changed = await inspected(sighting.changed, client)
            changed = [container for container in changed if container.container_id not in self._gone]
        finally:
            self._asked = ()
            self._gone.clear()
        there = sighting.ids
        with gc_paused(len(changed)):
            if everything:
                changes = population.apply(changed, prints=sighting.prints, present=there)
            else:
                changes = population.apply(changed, prints=sighting.prints, gone=hints.keys() - there)
        self._tell(changes, {container_id: hint.cause for container_id, hint in hints.items()})
        for container_id, hint in hints.items():
            self._catch_up(container_id, hint)
            if container_id in self._behind:
                continue
            heard = self._heard_of.pop(container_id, None)
            if heard is not None and container_id in changes and self._on_lag is not None:
                self._on_lag(_now() - heard)
        for container_id, user in population.missing_peers(changed).items():
            self._want(Hint(container_id, "look", "use of its network", user))

    def _catch_up(self, container_id: str, hint: Hint) -> None:
        """Have another look in a moment at a container that does not show yet what its event tells."""
        _, tries, _ = self._behind.pop(container_id, (0.0, 0, hint))
        if hint.expects and tries < len(_CATCH_UP) and self.population.is_behind(hint):
            self._behind[container_id] = (_now() + _CATCH_UP[tries], tries + 1, hint)

    async def _ask(self, client: SharedClient, ids: Iterable[str] | None) -> list[msgspec.Raw]:
        """List, and again after a pause when the engine has stumbled."""
        for tries in range(1, _TRIES + 1):
            if ids is None:
                self.lists += 1
            else:
                self.looks += 1
            try:
                return await client.list_containers(ids=ids)
            except EngineRefused as error:
                if error.status != 500 or tries == _TRIES:
                    raise
            await asyncio.sleep(self.timing.first_pause / 8 * 2**tries)
        raise AssertionError  # the last try returned or raised

    def _tell(self, changes: Mapping[str, Built | None], causes: Mapping[str, str]) -> None:
        if changes:
            self.sink.changed(changes, causes)


def _single(error: Exception) -> Exception:
    """Return the first of a group of errors."""
    return _single(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


def _now() -> float:
    return asyncio.get_running_loop().time()


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
