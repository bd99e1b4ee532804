"""Follows one engine until stopped and keeps its :class:`~pilotage.discovery.state.EngineState` up to date.

There are three nested loops: :meth:`EngineWatcher.run` reconnects with back-off, a session opens the event stream and
lists all containers, and a refresh lists the containers mentioned in events. Events only trigger a refresh; the list is
the source of truth. The watcher lists everything after each (re)connect and every half minute.

There is no debounce timer. While a request is in flight, container IDs accumulate, and the next request covers all of
them. A single change is handled immediately, and a flood costs no more requests than the engine can answer. If the list
does not reflect an event yet (Docker sends some events too early), the watcher lists that container again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, NoReturn

from pilotage.core.errors import ConfigError, EngineError, EngineRefused, EngineUnreachable, first_exception
from pilotage.core.gc import gc_paused
from pilotage.core.tasks import run_until_failure
from pilotage.core.text import shorten
from pilotage.discovery.back_off import BackOff
from pilotage.discovery.events import EVENT_FILTERS, ContainerEvent, Effect, Recheck, parse_event
from pilotage.discovery.inspect import inspect_all
from pilotage.discovery.state import EngineState, ListDiff
from pilotage.discovery.swarm import update_services
from pilotage.discovery.timing import Timing
from pilotage.discovery.wakeup import Wakeup
from pilotage.engine.pool import new_client

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    import msgspec

    from pilotage.containers.container import Container as ListedContainer
    from pilotage.discovery.update import WatchHandler
    from pilotage.engine.config import DockerProviderConfig
    from pilotage.engine.events import EventStream
    from pilotage.engine.pool import Pool, SharedClient
    from pilotage.routes.build import Built

__all__ = ["EngineWatcher"]

log = logging.getLogger(__name__)


class _AllContainers:
    """A set that contains every container ID."""

    def __contains__(self, _: object) -> bool:
        return True


_ALL: Final = _AllContainers()
_TICK: Final = 0.001  # seconds; event loops wake sleepers slightly early
_MAX_IDS: Final = 100  # container IDs in one request; the URL would get too long with more
_RECHECK_DELAYS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)  # seconds
_LIST_TRIES: Final = 4  # Podman's list fails with status 500 if a container disappears while Podman builds it
_MAX_PENDING: Final = 2_000  # containers with waiting events; above this, one list of all is cheaper
_LIST_PAUSE: Final = 1.0  # seconds between full lists while there are more
_BATCH: Final = 100  # containers handled before other tasks get a turn
_FEW: Final = 10  # containers parsed and updated in one step
_STILL_RUNNING: Final = "it kept running after its stop signal"


class EngineWatcher:
    """Watches one engine. Run :meth:`run` in a task and cancel the task to stop.

    Args:
        config: the engine.
        state: the engine's containers; only this watcher changes it.
        handler: receives changes.
        pool: source of connections; the running loop's default pool if omitted.
        timing: intervals and timeouts.
        on_lag: receives the seconds between an event and the change that the event caused.

    Attributes:
        events: number of events received.
        refreshes: number of filtered lists requested.
        lists: number of full lists requested.
        sessions: number of (re)connects.
        listed_at: loop time of the last full list, 0 before the first one.

    """

    def __init__(
        self,
        config: DockerProviderConfig,
        state: EngineState,
        handler: WatchHandler,
        *,
        pool: Pool | None = None,
        timing: Timing | None = None,
        on_lag: Callable[[float], object] | None = None,
    ) -> None:
        self.config = config
        self.state = state
        self.handler = handler
        self.timing = timing or Timing()
        self.events = self.refreshes = self.lists = self.sessions = 0
        self.listed_at = 0.0
        self._pool = pool
        self._on_lag = on_lag
        self._received_at: dict[str, float] = {}  # ID -> time of its first event that is not handled yet
        self._pending: dict[str, ContainerEvent] = {}  # ID -> event that requires a refresh, oldest first
        self._rechecks: dict[str, Recheck] = {}
        self._in_flight: Container[str] = ()  # IDs covered by the current request
        self._removed_in_flight: set[str] = set()
        self._overflowed = False  # events were dropped since the last full list began
        self._is_flooded = False  # as reported
        self._is_partial = False  # a part of a list has been handed over
        self._unconfirmed = False  # the event stream has not begun
        self._wakeup = Wakeup()
        self._last_event = 0.0
        self._reconcile_at = 0.0
        self._live_at = 0.0  # end of the session's first list, 0 before it

    # ---- forever

    async def run(self) -> None:
        """Watch the engine until cancelled."""
        back_off = BackOff(self.config, self.timing)
        while True:
            self._live_at = 0.0
            back_off.begin()
            defect = False
            try:
                await self._run_session()
            except EngineError as error:
                self.handler.on_stale(error)
            except ConfigError as error:  # a certificate file or a Docker context disappeared
                what = "; ".join(problem.message for problem in error.problems)
                self.handler.on_stale(EngineUnreachable(self.config.name, what))
            except Exception as failure:
                defect = True
                cause = first_exception(failure) if isinstance(failure, ExceptionGroup) else failure
                shown = shorten(repr(cause), 200)  # it may repeat a value that the engine sent
                log.error("engine %s: internal error: %s", self.config.name, shown)  # noqa: TRY400  # for operators
                log.debug("engine %s", self.config.name, exc_info=cause)
                what = f"internal error: {shown}"
                self.handler.on_stale(EngineUnreachable(self.config.name, what, "please report it"))
            await back_off.pause(listed_at=0.0 if defect else self._live_at)

    # ---- one session

    async def _run_session(self) -> None:
        async with await new_client(self.config, pool=self._pool) as client:
            if self.sessions:
                await client.check_connection()  # the address may belong to another engine now
            self.sessions += 1
            if client.agent is not None:
                self.handler.on_agent(client.agent)
            self.state.podman = client.kind == "podman"
            self.state.parser.set_rootless(client.is_rootless)
            async with client.events(filters=EVENT_FILTERS) as stream:
                await self._follow(client, stream)

    async def _follow(self, client: SharedClient, stream: EventStream) -> None:
        """Receive events in one task and refresh in another. The first failure ends both."""
        self._pending.clear()
        self._received_at.clear()
        self._rechecks.clear()
        self._wakeup.clear()
        self._overflowed = self._unconfirmed = False
        self._last_event = _now()
        try:
            name = self.config.name
            both = {f"events of {name}": self._receive(stream), f"refreshes of {name}": self._work(client, stream)}
            await run_until_failure(both)
        finally:
            self._wakeup.cancel()

    async def _receive(self, stream: EventStream) -> NoReturn:
        async for event in stream:
            self.events += 1
            self._last_event = _now()
            if self._unconfirmed:  # the first sign that the subscription is in effect
                self._unconfirmed, self._reconcile_at = False, 0.0
                self._wakeup.set()
            container_event = parse_event(event)
            if container_event is not None:
                self._handle(container_event)
        raise EngineUnreachable(self.config.name, "the engine closed the event stream")

    def _handle(self, event: ContainerEvent) -> None:
        """Apply the immediate effect of an event, if it has one, and schedule a refresh if needed."""
        container_id, state = event.container_id, self.state
        in_flight = container_id in self._in_flight
        if event.effect is Effect.REMOVED:
            for waiting in (self._pending, self._rechecks, self._received_at):
                waiting.pop(container_id, None)
            if in_flight and len(self._removed_in_flight) < _MAX_PENDING:
                self._removed_in_flight.add(container_id)
            elif in_flight:
                self._overflow()
        if not state.is_relevant(event, in_flight=in_flight):
            return
        match event.effect:
            case Effect.REMOVED:
                self._publish(state.update((), gone=(container_id,)), {container_id: str(event)})
            case Effect.DRAINING:
                until = _now() + self.timing.drain_grace
                self._publish(state.drain(container_id, until), {container_id: str(event)})
                self._wakeup.set()  # to wait for the end of the grace period
            case Effect.RESTARTED:
                self._publish(state.undrain(only=container_id), {container_id: str(event)})
                self._schedule(event)
            case Effect.REFRESH:
                self._schedule(event)

    def _schedule(self, event: ContainerEvent) -> None:
        """Refresh the event's container soon.

        An event that predicts a state replaces an earlier event; any other event leaves the earlier one in place.
        """
        container_id = event.container_id
        if len(self._pending) >= _MAX_PENDING and container_id not in self._pending:
            self._overflow()
            return
        if event.labels is not None:
            event = event._replace(labels=None)  # they can be large
        self._received_at.setdefault(container_id, _now())
        if event.predicts_state or event.effect is Effect.RESTARTED:
            self._rechecks.pop(container_id, None)
            self._pending[container_id] = event
        else:
            recheck = self._rechecks.get(container_id)
            self._pending.setdefault(container_id, recheck.event if recheck is not None else event)
        self._wakeup.set()

    def _overflow(self) -> None:
        """Drop an event. List everything soon instead, and again later, because Docker sends some events too early."""
        if not self._overflowed:
            self._overflowed = True
            self._reconcile_at = min(self._reconcile_at, self.listed_at + _LIST_PAUSE)
            self._wakeup.set()

    async def _work(self, client: SharedClient, stream: EventStream) -> NoReturn:
        """List all containers, then refresh and ping until the engine fails."""
        await self._sync(client)
        if not stream.is_confirmed:  # changes before the engine knows the subscription cause no events
            self._unconfirmed = True
            self._reconcile_at = self.listed_at + _LIST_PAUSE
        self._live_at = _now()
        self.handler.on_live()
        while True:
            await self._wait_for_work()
            now = _now() + _TICK
            undrained = self.state.undrain(now)
            self._publish(undrained, dict.fromkeys(undrained, _STILL_RUNNING))
            for container_id in [i for i, recheck in self._rechecks.items() if recheck.due <= now]:
                self._pending.setdefault(container_id, self._rechecks[container_id].event)
            if now >= self._reconcile_at:
                await self._sync(client)
            elif self._pending and not self._overflowed:
                ids = list(islice(self._pending, _MAX_IDS))
                await self._refresh(client, {container_id: self._pending.pop(container_id) for container_id in ids})
            elif now >= self._last_event + self.timing.silence:
                await self._ping(client, stream)

    async def _wait_for_work(self) -> None:
        """Wait for an event that requires a refresh, or until the next recheck, sync, ping or end of draining."""
        if (not self._pending or self._overflowed) and not self._wakeup.is_set():
            due = min(self._last_event + self.timing.silence, self._reconcile_at, self.state.next_undrain)
            due = min(due, *(recheck.due for recheck in self._rechecks.values())) if self._rechecks else due
            await self._wakeup.wait(due)
        self._wakeup.clear()

    async def _ping(self, client: SharedClient, stream: EventStream) -> None:
        """Ping an engine that has sent no events for a while, because its TCP connection may be dead."""
        if stream.waiting_for_end() >= self.timing.silence:
            what = f"the engine sent part of an event, and then nothing for {self.timing.silence:g} s"
            raise EngineUnreachable(self.config.name, what, "check what is listening at this address")
        try:
            async with asyncio.timeout(self.timing.ping):
                await client.ping()
        except TimeoutError:
            what = f"no event for {self.timing.silence:g} s, and no response to a ping within {self.timing.ping:g} s"
            raise EngineUnreachable(self.config.name, what) from None
        except EngineRefused:  # a socket proxy that denies the ping is alive
            pass
        self._last_event = _now()

    # ---- one refresh

    async def _sync(self, client: SharedClient) -> None:
        """List all containers. Known containers that are not in the list count as removed."""
        events, self._pending = self._pending, {}
        flooded, self._overflowed = self._overflowed, False
        await self._refresh(client, events, everything=True)
        jitter = random.uniform(0.9, 1.0)  # noqa: S311  # see Timing.reconcile
        self.listed_at = _now()
        pause = _LIST_PAUSE if flooded or self._overflowed else jitter * self.timing.reconcile
        self._reconcile_at = self.listed_at + pause
        if flooded is not self._is_flooded:
            self._is_flooded = flooded
            self.handler.on_flood(_MAX_PENDING if flooded else 0)

    async def _refresh(
        self, client: SharedClient, events: dict[str, ContainerEvent], *, everything: bool = False
    ) -> None:
        """List the containers of some events, or all, and update the state once the list has been read."""
        state = self.state
        self._in_flight = _ALL if everything else events
        touched: dict[str, None] = {}
        kept: list[ListedContainer] = []
        try:
            listed = await self._list(client, None if everything else events)
            everyone = listed.ids if everything else None
            if change := await update_services(state.parser, listed.changed, client, present=everyone):
                if change == "services":
                    state.forget_tasks()
                listed = await self._list(client, None if everything else events)
            if len(listed.changed) > _FEW:
                await asyncio.sleep(0)
            changed = await inspect_all(listed.changed, client, network_owners=state.network_owners)
            for start in range(0, len(changed), _BATCH):
                if start:
                    await asyncio.sleep(0)
                containers = changed[start : start + _BATCH]
                present = [it for it in containers if it.container_id not in self._removed_in_flight]
                with gc_paused(len(present)):
                    touched |= dict.fromkeys(state.update(present, fingerprints=listed.fingerprints))
                kept += present
            if everything:
                touched |= dict.fromkeys(state.update((), present=listed.ids))
            elif gone := events.keys() - listed.ids:
                touched |= dict.fromkeys(state.update((), gone=gone))
        finally:  # also after a cancellation between two batches, because the next list would find no difference
            self._in_flight = ()
            self._removed_in_flight.clear()
            causes = {i: event.cause_for(state.containers.get(i)) for i, event in events.items()}
            await self._publish_all(list(touched), causes)
        for container_id, event in events.items():
            self._schedule_recheck(container_id, event)
            if container_id in self._rechecks:
                continue
            received_at = self._received_at.pop(container_id, None)
            if received_at is not None and container_id in touched and self._on_lag is not None:
                self._on_lag(_now() - received_at)
        for container_id, user in state.missing_network_owners(kept).items():
            self._schedule(ContainerEvent(container_id, Effect.REFRESH, "use of its network", user))

    def _schedule_recheck(self, container_id: str, event: ContainerEvent) -> None:
        """List the container again shortly if the list does not reflect the event yet."""
        previous = self._rechecks.pop(container_id, None)
        tries = previous.tries if previous is not None else 0
        if tries < len(_RECHECK_DELAYS) and self.state.is_behind(event):
            self._rechecks[container_id] = Recheck(_now() + _RECHECK_DELAYS[tries], tries + 1, event)

    async def _list(self, client: SharedClient, ids: Iterable[str] | None) -> ListDiff:
        """List containers and compare them with the known state, retrying if the engine answers with status 500."""
        for attempt in range(1, _LIST_TRIES + 1):
            if ids is None:
                self.lists += 1
            else:
                self.refreshes += 1
            listed = ListDiff(set(), [], {}, {})
            try:
                await client.read_containers(partial(self._compare, listed), ids=ids)
            except EngineRefused as error:
                if error.status != 500 or attempt == _LIST_TRIES:
                    raise
            else:
                return listed
            await asyncio.sleep(self.timing.first_pause / 8 * 2**attempt)
        raise AssertionError  # unreachable: the last attempt returned or raised

    def _compare(self, listed: ListDiff, elements: list[msgspec.Raw]) -> None:
        """Compare the next part of a list. Other engines' events are handled between two parts."""
        with gc_paused(len(elements)):
            self.state.diff(elements, listed)

    async def _publish_all(self, ids: list[str], causes: Mapping[str, str]) -> None:
        """Pass the containers' routes to the handler in batches, even if cancelled. The last batch publishes all."""
        built = self.state.built
        try:
            while len(ids) > _BATCH:
                batch, ids = ids[:_BATCH], ids[_BATCH:]
                self._is_partial = True
                self._publish({i: built.get(i) for i in batch}, causes)
                await asyncio.sleep(0)
            while self._is_partial and self.handler.prepare():  # noqa: ASYNC110  # the loop works and does not wait
                await asyncio.sleep(0)
        finally:
            self._is_partial = False
            self._publish({i: built.get(i) for i in ids}, causes)

    def _publish(self, changes: Mapping[str, Built | None], causes: Mapping[str, str]) -> None:
        if changes:
            self.handler.on_change(changes, causes, more=self._is_partial)


def _now() -> float:
    return asyncio.get_running_loop().time()
