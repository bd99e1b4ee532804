"""Puts containers to sleep and wakes them. Connects their states to the table, the engines and the gateway."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from pilotage.core.secrets import clean
from pilotage.core.text import format_duration
from pilotage.routes.problems import unexpected
from pilotage.sleep.activity import Activity
from pilotage.sleep.datagrams import Datagrams
from pilotage.sleep.engine_actions import EngineActions, SleepError
from pilotage.sleep.quiescing import Quiescing
from pilotage.sleep.readiness import Readiness, check_readiness
from pilotage.sleep.registry import Registry
from pilotage.sleep.schedule import Schedule, Watchers
from pilotage.sleep.state import QUIESCE_LIMIT, Action, Phase
from pilotage.sleep.status import SleepStatus, problems_of, status_of, statuses_of
from pilotage.sleep.stopping import stop_unit, users_of
from pilotage.sleep.waking import Waker
from pilotage.table.wakefulness import Wakefulness
from pilotage.xds.cluster_names import gate_of, pool_gate
from pilotage.xds.clusters import GRPC_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from pilotage.core.problems import Problem
    from pilotage.engine.client import EngineClient
    from pilotage.routes.route import Endpoint, Route
    from pilotage.sleep.units import GateKeeper, Source, Unit, UnitKey
    from pilotage.xds.load_reports import Report
    from pilotage.xds.resources import Key

__all__ = ["Sleeper"]

log = logging.getLogger(__name__)


class Sleeper:
    """Puts the containers of all routes to sleep and wakes them.

    Args:
        source: routes and containers.
        keeper: the gateway, which lets requests pass, wait or be rejected.
        connect: returns a client of an engine, as a context manager.
        reports: returns the last load report of each connected Envoy.
        envoys: returns the number of connected Envoys.
        may_act: returns whether containers of an engine may be started and stopped.
        probe: returns whether an endpoint is ready for requests.
        on_state: called with an alias and the state of its containers; ``None`` if they can no longer sleep.
        datagrams: queues and forwards the datagrams of udp routes.

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
        probe: Callable[[Route, Endpoint], Awaitable[Readiness]] = check_readiness,
        datagrams: Datagrams | None = None,
    ) -> None:
        self._activity = Activity(reports, envoys)
        self._source = source
        self._keeper = keeper
        self._connect = connect
        self._on_state = on_state
        self._offset = time.time() - time.monotonic()
        self._datagrams = datagrams or Datagrams()
        self._registry = Registry(source, may_act, keeper.next_epoch, udp=self._datagrams.is_enabled)
        self._engines: dict[str, EngineActions] = {}
        self._waker = Waker(source, self.engine, self._announce, probe)
        self._schedule = Schedule()
        self._quiescing = Quiescing(self._activity, keeper, source, self._datagrams)
        self._moved = asyncio.Event()
        self._watchers = Watchers()
        self.changed = self._watchers.changed
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- what happens

    def follow(self, aliases: Iterable[str]) -> None:
        """Update the units and their gates after changes to the route table.

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
        """Continue an epoch that began before this process started, because an Envoy still has requests in it.

        Args:
            alias: alias of the route.
            epoch: the epoch, from the name of the cluster that these requests use.

        """
        unit = self._registry.unit(alias)
        if unit is None or not unit.take_over(epoch):
            return
        self._publish(unit)
        if unit.busy:
            self._begin(unit, self._settle_later(unit))

    def sleep(self, alias: str) -> None:
        """Put the containers of a route to sleep without waiting for their idle timeout, unless they sleep already.

        Raises:
            SleepError: the containers cannot sleep, are not awake, are needed by others, or may have requests.

        """
        unit = self._registry.unit(alias)
        if unit is None:
            raise SleepError(f"no containers of {alias} can sleep; set proxy.idle_timeout on them")
        if unit.state.phase in (Phase.QUIESCING, Phase.STOPPING, Phase.ASLEEP):
            return
        if users := users_of(unit, self._source):
            raise SleepError(f"{unit.name} is needed by {', '.join(sorted(users))}")
        if silent := self._activity.silent(time.monotonic()):
            raise SleepError(f"{unit.name} stays awake until Envoy {', '.join(silent)} has reported its requests")
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
            unit = self._registry.unit(gate_of(cluster.removesuffix(GRPC_SUFFIX)))
            if unit is not None and unit.state.phase is Phase.READY:
                issued[unit.key] = issued.get(unit.key, 0) + number
        for key, number in issued.items():
            unit = self._registry.units[key]
            unit.state.report(in_progress=self._in_progress(unit, now), issued=number, now=now)
            self._plan(unit)
        self._quiescing.reported()

    def sessions_changed(self, alias: str) -> None:
        """Record that a session of a udp route has begun or ended."""
        unit = self._registry.unit(alias)
        if unit is not None and unit.state.phase is Phase.READY:
            now = time.monotonic()
            unit.state.report(in_progress=self._in_progress(unit, now), issued=1, now=now)
            self._plan(unit)

    def _in_progress(self, unit: Unit, now: float) -> int:
        """Return how many requests to a unit are in progress in all epochs, including sessions of udp clients."""
        epochs = {unit.state.epoch, *unit.busy}
        sessions = sum(map(self._datagrams.in_progress, unit.aliases))
        return sessions + sum(
            self._activity.in_progress(name, now) for epoch in epochs for name in unit.clusters(epoch)
        )

    async def sleep_with(self, dependant: Unit, unit: Unit) -> None:
        """Put ``unit`` to sleep after ``dependant``, which needed it; see :class:`~pilotage.sleep.stopping.Stops`."""
        before = unit.state.epoch
        if unit.busy or not unit.state.sleep(time.monotonic()):
            return
        self._begin_sleep(unit, before)
        while unit.state.phase in (Phase.QUIESCING, Phase.STOPPING) and not unit.task.done():
            if dependant.state.is_wanted and unit.state.phase is Phase.QUIESCING:
                self._act(unit, unit.state.want(time.monotonic()))
                return
            moved = asyncio.ensure_future(self._moved.wait())
            await asyncio.wait({moved, unit.task}, return_when=asyncio.FIRST_COMPLETED)
            moved.cancel()

    async def run(self) -> None:
        """Check each unit when it is due, until cancelled. Then stop all tasks that wake or stop containers."""
        try:
            while True:
                now = time.monotonic()
                for unit in self._schedule.take_due(now):
                    if self._registry.units.get(unit.key) is unit:
                        self._advance(unit, now)
                await self._schedule.wait(now)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._waker.close()
            self._datagrams.close()

    # ---- what others see

    def unit(self, alias: str) -> Unit | None:
        """Return the unit of an alias or of a pool (``pool_gate``); ``None`` if its containers do not sleep."""
        return self._registry.unit(alias)

    def engine(self, name: str) -> EngineActions:
        """Return the object that sends commands to an engine."""
        if name not in self._engines:
            self._engines[name] = EngineActions(lambda: self._connect(name))
        return self._engines[name]

    def find(self, name: str) -> Unit | None:
        """Find a unit by alias, pool, container name or (short) container ID; ``None`` unless exactly one matches."""
        return self._registry.find(name)

    @property
    def names(self) -> list[str]:
        """Return the names of all containers that can sleep."""
        return [unit.name for unit in self._registry.units.values()]

    def status(self, unit: Unit) -> SleepStatus:
        """Return the status of a unit."""
        return status_of(unit, users_of(unit, self._source), now=time.monotonic(), wall=time.time())

    def statuses(self) -> list[SleepStatus]:
        """Return the status of each unit, sorted by engine and container."""
        return statuses_of(self._registry.units.values(), self._source, now=time.monotonic(), wall=time.time())

    def problems(self) -> list[Problem]:
        """Return why containers with an idle timeout do not sleep, or could not be woken or put to sleep."""
        found = [it for unit in self._registry.units.values() for it in problems_of(unit, self._source)]
        return [*dict.fromkeys((*self._registry.refused.values(), *found))]

    # ---- following the table

    def _follow(self, alias: str, now: float) -> None:
        before = self._registry.refused.get(alias)
        found = self._registry.follow(alias, now)
        if (refused := self._registry.refused.get(alias)) is not None and refused != before:
            log.warning("%s", refused)
        if found.left is not None:
            if not (left := found.left).pool or not left.aliases:
                self._keeper.set_gate(pool_gate(left.pool) if left.pool else alias, None)
            self._on_state(alias, None)
            self._datagrams.close(alias)
            # A container with a negative timeout loses its routes when it stops, which its task has yet to learn.
            goes_on = left.state.phase is Phase.STOPPING and left.config.idle_timeout < 0
            if not left.aliases and left.task is not None and not goes_on:
                left.task.cancel()
        if found.unit is not None and found.is_changed:
            self._act(found.unit, found.action)
            if found.unit.busy and found.unit.state.phase is not Phase.QUIESCING:
                self._begin(found.unit, self._settle_later(found.unit))
        for other in found.again:
            self._follow(other, now)

    # ---- acting

    def _act(self, unit: Unit, action: Action | None) -> None:
        """Publish the state of a unit, and begin the given action, if any."""
        unit.shown = unit.state.phase
        self._moved.set()
        self._moved = asyncio.Event()
        if action is Action.WAKE:
            log.info("%s: waking %s", unit.engine, unit.name)
            self._run(unit, self._wake(unit))
        elif action is Action.STOP:
            self._run(unit, self._stop(unit))
        self._publish(unit)
        self._plan(unit)
        self._announce(unit)

    def _advance(self, unit: Unit, now: float) -> None:
        due = unit.state.due
        if due is None:
            return
        if due > now:
            self._plan(unit)
            return
        if unit.state.phase is Phase.READY:
            unit.silent = tuple(self._activity.silent(now))
            # There may be requests from before a sleep that was cancelled, or of an Envoy that is stuck.
            if unit.busy or unit.silent:
                unit.state.report(in_progress=0, issued=1, now=now)
            elif issued := self._in_progress(unit, now):
                unit.state.report(in_progress=0, issued=issued, now=now)
            elif not self._activity.is_current(now):
                self._schedule.add(unit, now + 1)
                return
            elif users_of(unit, self._source):
                unit.state.postpone(now)
            else:
                before = unit.state.epoch
                unit.state.advance(now)
                self._begin_sleep(unit, before)
                return
            self._plan(unit)
            return
        self._act(unit, unit.state.advance(now))

    def _begin_sleep(self, unit: Unit, before: int) -> None:
        unit.begin_sleep(before)
        unit.state.quiesce_limit = max(QUIESCE_LIMIT, 5 * self._activity.interval)
        self._run(unit, self._quiesce(unit, self._publish(unit)))
        self._plan(unit)
        self._announce(unit)

    async def _quiesce(self, unit: Unit, keys: frozenset[Key]) -> None:
        """Stop a unit's containers once no earlier request is in progress. If that is uncertain, keep them awake."""
        now = time.monotonic
        if await self._quiescing.settle(unit, keys):
            self._act(unit, unit.state.quiet(now()))
        elif unit.state.phase is Phase.QUIESCING:
            unit.silent = tuple(self._activity.silent(now()))
            self._act(unit, unit.state.want(now()))
            self._begin(unit, self._settle_later(unit))

    async def _settle_later(self, unit: Unit) -> None:
        await self._quiescing.settle_later(unit)
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
        log.error("%s", problems_of(unit, self._source)[0])
        self._act(unit, None)

    async def _stop(self, unit: Unit) -> None:
        failure = ""
        log.info("%s: putting %s to sleep", unit.engine, unit.name)
        try:
            await self._waker.stop(unit)
            await stop_unit(unit, self._source, self)
            if not await self._waker.is_gone(unit):
                failure = f"the engine reported no error, but {unit.name} is still running"
        except SleepError as error:
            failure = str(error)
        except Exception as error:  # noqa: BLE001  # one unit must not stop the others
            failure = unexpected(error).message
        action = unit.state.stopped(time.monotonic(), failure)
        if failure:
            log.error("%s", problems_of(unit, self._source)[0])
        self._act(unit, action)

    def _run(self, unit: Unit, coroutine: Coroutine[object, object, None]) -> None:
        unit.task = self._begin(unit, coroutine)

    def _begin(self, unit: Unit, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine, name=f"sleep {unit.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _publish(self, unit: Unit) -> frozenset[Key]:
        gate = unit.gate
        keys: set[Key] = set()
        for name in unit.gates:
            route = self._source.table.routes.get(name)
            relay = self._datagrams.open(name, gate.opening) if route is not None and route.scheme == "udp" else 0
            keys |= self._keeper.set_gate(name, msgspec.structs.replace(gate, relay=relay))
        return frozenset(keys)

    def _plan(self, unit: Unit) -> None:
        due = unit.state.due
        if due is not None:
            self._schedule.add(unit, due)

    def _announce(self, unit: Unit) -> None:
        state = unit.state
        detail = state.failure if state.phase is Phase.FAILED else unit.step
        since = round(self._offset + state.since, 3)
        shown = Wakefulness(state.phase.value, since, clean(detail), state.last_wake)
        for alias in unit.aliases:
            self._on_state(alias, shown)
        self._watchers.notify({*unit.aliases, *unit.gates})
