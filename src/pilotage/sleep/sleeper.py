"""Puts containers to sleep and wakes them: connects their states with the table, the engines and the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import time
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.secrets import clean
from pilotage.core.text import format_duration
from pilotage.routes.problems import unexpected
from pilotage.sleep.activity import Activity
from pilotage.sleep.engine_actions import EngineActions, SleepError
from pilotage.sleep.readiness import answers
from pilotage.sleep.registry import Registry
from pilotage.sleep.state import Action, Phase
from pilotage.sleep.status import SleepStatus, status_of
from pilotage.sleep.stopping import stop_unit, users_of
from pilotage.sleep.units import Unit, running_endpoints, start_path
from pilotage.sleep.waking import Waker
from pilotage.table.wakefulness import Wakefulness
from pilotage.xds.backend import RESTART_HOLD, alias_of, epoch_cluster
from pilotage.xds.clusters import GRPC_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from pilotage.engine.client import EngineClient
    from pilotage.routes.gate import Gate
    from pilotage.routes.route import Endpoint, Route
    from pilotage.sleep.units import Source, UnitKey
    from pilotage.xds.load_reports import Report
    from pilotage.xds.resources import Key

__all__ = ["GateKeeper", "Sleeper"]

log = logging.getLogger(__name__)

_STOPPED_AFTER: Final = 10.0
"""Seconds after which a container that the engine has stopped must be gone from the table."""


class GateKeeper(Protocol):
    """The gateway, which leads requests to containers or lets them wait."""

    def set_gate(self, alias: str, gate: Gate | None) -> frozenset[Key]:
        """Let the requests of a route pass, wait or be rejected; return what changed, for :meth:`wait_for_acks`.

        Args:
            alias: the route.
            gate: the state; ``None`` if its containers never sleep.

        """

    def next_epoch(self) -> int:
        """Return a number that no Envoy has seen in the name of a cluster."""

    @property
    def wait_for_acks(self) -> Callable[[Iterable[Key]], Awaitable[None]]:
        """Waits until all Envoys have accepted some changes."""


class Sleeper:
    """Runs all units.

    Args:
        source: routes and containers.
        keeper: the gateway.
        connect: returns a client of an engine, as a context manager.
        reports: returns the last load report of each connected Envoy.
        envoys: returns the number of connected Envoys.
        may_act: returns whether containers of an engine may be started and stopped.
        probe: returns whether an endpoint answers.
        on_state: receives whether the containers of an alias are awake; ``None`` if they no longer sleep.

    """

    def __init__(
        self,
        source: Source,
        keeper: GateKeeper,
        connect: Callable[[str], AbstractAsyncContextManager[EngineClient]],
        *,
        reports: Callable[[], Sequence[Report]] = tuple,
        envoys: Callable[[], int] = lambda: 0,
        may_act: Callable[[str], bool] = lambda _engine: True,
        on_state: Callable[[str, Wakefulness | None], object] = lambda _alias, _state: None,
        probe: Callable[[Route, Endpoint], Awaitable[bool]] = answers,
    ) -> None:
        self._activity = Activity(reports, envoys)
        self._source = source
        self._keeper = keeper
        self._connect = connect
        self._on_state = on_state
        self._offset = time.time() - time.monotonic()
        self._registry = Registry(source, may_act, keeper.next_epoch)
        self._engines: dict[str, EngineActions] = {}
        self._waker = Waker(source, self._engine, self._announce, probe)
        self._due: list[tuple[float, int, Unit]] = []
        self._numbers = itertools.count()
        self._rescheduled = asyncio.Event()
        self._reported = asyncio.Event()
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- what happens

    def follow(self, aliases: Iterable[str]) -> None:
        """Take over changes of the table.

        Args:
            aliases: routes that were added, changed or removed.

        """
        now = time.monotonic()
        for alias in aliases:
            self._follow(alias, now)
        self._waker.notify()

    def want(self, alias: str) -> None:
        """Wake the containers of a route, because an Envoy has a request for it or an operator asks."""
        unit = self._registry.unit(alias)
        if unit is not None:
            self._act(unit, unit.state.want(time.monotonic()))

    def take_over(self, alias: str, epoch: int) -> None:
        """Go on with an epoch in which an Envoy has had requests for a route since before this process.

        Args:
            alias: the route.
            epoch: the epoch.

        """
        unit = self._registry.unit(alias)
        if unit is None or not unit.take_over(epoch):
            return
        self._publish(unit)
        if unit.busy:
            self._begin(unit, self._settle_later(unit))

    def sleep(self, alias: str) -> None:
        """Put the containers of a route to sleep without waiting for their idle timeout.

        Raises:
            SleepError: they do not sleep at all, are not awake, or are needed by others.

        """
        unit = self._registry.unit(alias)
        if unit is None:
            raise SleepError(f"no containers of {alias} can sleep; set proxy.idle_timeout on them")
        if users := users_of(unit, self._source):
            raise SleepError(f"{unit.name} is needed by {', '.join(sorted(users))}")
        if unit.busy:
            raise SleepError(f"{unit.name} still has requests that began before it was last put to sleep")
        before = unit.state.epoch
        if not unit.state.sleep(time.monotonic()):
            raise SleepError(f"{unit.name} is {unit.state.phase}")
        self._begin_sleep(unit, before)

    def reported(self, report: Report) -> None:
        """Record the load report of an Envoy."""
        now = time.monotonic()
        issued: dict[UnitKey, int] = {}
        for cluster, number in self._activity.changes(report).items():
            unit = self._registry.unit(alias_of(cluster.removesuffix(GRPC_SUFFIX)))
            if unit is not None and unit.state.phase is Phase.READY:
                issued[unit.key] = issued.get(unit.key, 0) + number
        for key, number in issued.items():
            unit = self._registry.units[key]
            unit.state.report(in_progress=self._in_progress(unit, now), issued=number, now=now)
            self._schedule(unit)
        self._reported.set()
        self._reported = asyncio.Event()

    def _in_progress(self, unit: Unit, now: float) -> int:
        """Return how many requests of a unit are in progress, in all epochs."""
        epochs = {unit.state.epoch, *unit.busy}
        return sum(self._activity.in_progress(name, now) for epoch in epochs for name in _clusters(unit, epoch))

    async def run(self) -> None:
        """Act whenever a unit is due, until cancelled."""
        try:
            while True:
                rescheduled = self._rescheduled
                now = time.monotonic()
                while self._due and self._due[0][0] <= now:
                    due, _, unit = heapq.heappop(self._due)
                    if self._registry.units.get(unit.key) is unit and unit.scheduled == due:
                        unit.scheduled = None
                        self._advance(unit, now)
                delay = self._due[0][0] - now if self._due else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await rescheduled.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- what others see

    def unit(self, alias: str) -> Unit | None:
        """Return the unit of a route; ``None`` if its containers do not sleep."""
        return self._registry.unit(alias)

    def find(self, name: str) -> Unit | None:
        """Return the unit of a container, given by ID, the beginning of its ID, its name or an alias."""
        return self._registry.find(name)

    @property
    def names(self) -> list[str]:
        """The names of all containers that sleep."""
        return [unit.name for unit in self._registry.units.values()]

    def status(self, unit: Unit) -> SleepStatus:
        """Return the status of a unit."""
        return status_of(unit, now=time.monotonic(), wall=time.time())

    def statuses(self) -> list[SleepStatus]:
        """Return the status of each unit, sorted by engine and container."""
        return sorted(map(self.status, self._registry.units.values()), key=lambda it: (it.engine, it.container))

    async def changed(self, alias: str) -> None:
        """Wait until the unit of a route changes its phase or step."""
        event = asyncio.Event()
        self._watchers.setdefault(alias, set()).add(event)
        try:
            await event.wait()
        finally:
            self._watchers[alias].discard(event)
            if not self._watchers[alias]:
                del self._watchers[alias]

    def problems(self) -> list[Problem]:
        """Return why containers do not sleep although labels ask for it, or could not be woken or put to sleep."""
        failed = [self._problem(unit) for unit in self._registry.units.values() if unit.state.failure]
        return [*self._registry.refused.values(), *failed]

    def _problem(self, unit: Unit) -> Problem:
        verb = "woken" if unit.state.phase in (Phase.FAILED, Phase.ASLEEP, Phase.WAKING) else "put to sleep"
        return Problem(
            message=f"could not be {verb}: {unit.state.failure}",
            provider=unit.engine,
            container=unit.name,
            label="proxy.idle_timeout",
        )

    # ---- following the table

    def _follow(self, alias: str, now: float) -> None:
        found = self._registry.follow(alias, now)
        if found.left is not None:
            self._keeper.set_gate(alias, None)
            self._on_state(alias, None)
            if not found.left.aliases and found.left.task is not None:
                found.left.task.cancel()
        if found.unit is not None and found.is_changed:
            self._act(found.unit, found.action)
            if found.unit.busy and found.unit.state.phase is not Phase.QUIESCING:
                self._begin(found.unit, self._settle_later(found.unit))
        for other in found.again:
            self._follow(other, now)

    # ---- acting

    def _act(self, unit: Unit, action: Action | None) -> None:
        """Publish the state of a unit and begin what it asks for."""
        unit.shown = unit.state.phase
        if action is Action.WAKE:
            log.info("%s: waking %s", unit.engine, unit.name)
            self._run(unit, self._wake(unit))
        elif action is Action.STOP:
            self._run(unit, self._stop(unit))
        self._publish(unit)
        self._schedule(unit)
        self._announce(unit)

    def _advance(self, unit: Unit, now: float) -> None:
        due = unit.state.due
        if due is None:
            return
        if due > now:
            self._schedule(unit)
            return
        if unit.state.phase is Phase.READY:
            if unit.busy:  # requests from before a sleep that was cancelled
                unit.state.report(in_progress=0, issued=1, now=now)
            elif silent := self._in_progress(unit, now):  # Envoys that report nothing count, too
                unit.state.report(in_progress=0, issued=silent, now=now)
            elif users := users_of(unit, self._source):
                unit.state.postpone(users, now)
            else:
                before = unit.state.epoch
                unit.state.advance(now)
                self._begin_sleep(unit, before)
                return
            self._schedule(unit)
            return
        self._act(unit, unit.state.advance(now))

    def _begin_sleep(self, unit: Unit, before: int) -> None:
        unit.begin_sleep(before)
        self._run(unit, self._quiesce(unit, self._publish(unit)))
        self._schedule(unit)
        self._announce(unit)

    async def _quiesce(self, unit: Unit, keys: frozenset[Key]) -> None:
        """Wait until no Envoy leads requests to the last epoch, and none of it is in progress.

        Args:
            unit: the unit.
            keys: what leads requests to the next epoch.

        """
        await self._settle(unit, keys)
        self._act(unit, unit.state.quiet(time.monotonic()))

    async def _settle(self, unit: Unit, keys: frozenset[Key]) -> None:
        """Wait until no request of the earlier epochs is in progress; then their clusters are given up."""
        busy = unit.busy
        await self._keeper.wait_for_acks(keys)
        since = time.monotonic()
        while not all(self._activity.is_quiet(name, since) for epoch in busy for name in _clusters(unit, epoch)):
            await self._reported.wait()
        unit.busy = tuple(epoch for epoch in unit.busy if epoch not in busy)

    async def _settle_later(self, unit: Unit) -> None:
        """Keep the clusters of earlier epochs for as long as requests in them may be retried, or are in progress."""
        await asyncio.sleep(RESTART_HOLD)
        await self._settle(unit, frozenset())
        self._publish(unit)

    async def _wake(self, unit: Unit) -> None:
        try:
            await self._waker.wake(unit)
        except SleepError as error:
            self._wake_failed(unit, str(error))
        except Exception as error:  # noqa: BLE001  # one unit must not stop the others
            self._wake_failed(unit, unexpected(error).message)
        else:
            unit.state.woke(time.monotonic())
            if unit.waiting:
                unit.busy, unit.waiting = (*unit.busy, *unit.waiting), ()
                self._begin(unit, self._settle_later(unit))
            log.info("%s: %s is awake after %s", unit.engine, unit.name, format_duration(unit.state.last_wake or 0.0))
            self._act(unit, None)

    def _wake_failed(self, unit: Unit, reason: str) -> None:
        unit.state.wake_failed(reason, time.monotonic())
        unit.waiting = ()
        log.error("%s", self._problem(unit))
        self._act(unit, None)

    async def _stop(self, unit: Unit) -> None:
        failure = ""
        log.info("%s: putting %s to sleep", unit.engine, unit.name)
        try:
            await stop_unit(unit, self._source, self._engine(unit.engine))
            await self._until_gone(unit)
            if running_endpoints(unit, self._source.table):
                failure = f"the engine has not refused to stop {unit.name}, but it still runs"
        except SleepError as error:
            failure = str(error)
        except Exception as error:  # noqa: BLE001  # one unit must not stop the others
            failure = unexpected(error).message
        action = unit.state.stopped(time.monotonic(), failure)
        if failure:
            log.error("%s", self._problem(unit))
        self._act(unit, action)

    async def _until_gone(self, unit: Unit) -> None:
        """Wait until the table has no endpoint of a unit, so that what it says later is news."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOPPED_AFTER):
                while running_endpoints(unit, self._source.table):
                    await self._waker.changed()

    def _run(self, unit: Unit, coroutine: Coroutine[object, object, None]) -> None:
        unit.task = self._begin(unit, coroutine)

    def _begin(self, unit: Unit, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine, name=f"sleep {unit.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _publish(self, unit: Unit) -> frozenset[Key]:
        gate = msgspec.structs.replace(
            unit.state.gate,
            busy=unit.busy,
            waiting=unit.waiting,
            page=not unit.config.no_loading_page,
            start_path=start_path(unit.config.start_endpoint),
        )
        keys: set[Key] = set()
        for alias in unit.aliases:
            keys |= self._keeper.set_gate(alias, gate)
        return frozenset(keys)

    def _schedule(self, unit: Unit) -> None:
        due = unit.state.due
        if due is not None and (unit.scheduled is None or due < unit.scheduled):
            unit.scheduled = due
            heapq.heappush(self._due, (due, next(self._numbers), unit))
            if self._due[0][2] is unit:
                self._rescheduled.set()
                self._rescheduled = asyncio.Event()

    def _announce(self, unit: Unit) -> None:
        state = unit.state
        detail = state.failure if state.phase is Phase.FAILED else unit.step
        since = round(self._offset + state.since, 3)
        shown = Wakefulness(state.phase.value, since, clean(detail), state.last_wake)
        for alias in unit.aliases:
            self._on_state(alias, shown)
        for alias in unit.aliases:
            for event in self._watchers.get(alias, ()):
                event.set()

    def _engine(self, name: str) -> EngineActions:
        if name not in self._engines:
            self._engines[name] = EngineActions(lambda: self._connect(name))
        return self._engines[name]


def _clusters(unit: Unit, epoch: int) -> list[str]:
    """Return the names of the clusters of a unit in one epoch."""
    return [epoch_cluster(alias, epoch) + suffix for alias in sorted(unit.aliases) for suffix in ("", GRPC_SUFFIX)]
