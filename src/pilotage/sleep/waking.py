"""Wakes the containers that a unit needs, then its own, and waits until one of its own is ready."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from pilotage.core.pacing import pause_between_attempts
from pilotage.core.text import format_duration
from pilotage.engine.singleflight import SingleFlight
from pilotage.sleep.dependencies import Directory, plan_wake
from pilotage.sleep.engine_actions import SleepError, all_of
from pilotage.sleep.readiness import Readiness, check_readiness
from pilotage.sleep.turns import MOST_AT_ONCE, Turns
from pilotage.sleep.units import by_engine, members_of, running_endpoints

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pilotage.containers.container import Container
    from pilotage.routes.route import Endpoint, Route
    from pilotage.sleep.dependencies import Condition, WakePlan
    from pilotage.sleep.engine_actions import EngineActions
    from pilotage.sleep.units import Source, Unit, UnitKey

__all__ = ["LONGEST_WAKE", "QUEUES", "Waker"]

log = logging.getLogger(__name__)

_STOPPED_AFTER: Final = 10.0
"""Seconds after which a container that the engine has stopped must be gone from the table."""

QUEUES: Final = "waiting for other services to wake"
"""The step of a unit that waits for its turn."""

LONGEST_WAKE: Final = 900.0
"""Maximum number of seconds that an attempt may take, even if the label allows more."""

_LONGEST_CHECK_INTERVAL: Final = 0.5
_CHECK_SHARE: Final = 0.05
"""Minimum pause between two health checks of a server that accepts connections, because servers may log each check. It
is this share of the time since the container got an address, at most ``_LONGEST_CHECK_INTERVAL`` seconds."""

_CHECKS_AT_ONCE: Final = 16
"""Number of a unit's endpoints that are checked at the same time, so that an unresponsive one does not delay the
others."""

_LOOK_AGAIN: Final = 1.0
"""Seconds after which the engine is asked whether a container that does not answer yet is still running."""


class Waker:
    """Wakes the containers of units.

    Args:
        source: routes and containers.
        engine: returns the object that sends commands to an engine, given the engine's name.
        on_step: called whenever the step of a unit has changed.
        probe: returns whether an endpoint is ready for requests.

    """

    def __init__(
        self,
        source: Source,
        engine: Callable[[str], EngineActions],
        on_step: Callable[[Unit], object],
        probe: Callable[[Route, Endpoint], Awaitable[Readiness]] = check_readiness,
    ) -> None:
        self._probe = probe
        self._source = source
        self._engine = engine
        self._on_step = on_step
        self._turns = Turns()
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._starting: dict[UnitKey, asyncio.Task[None]] = {}
        self._shared: dict[tuple[str, str, Condition], SingleFlight[None]] = {}
        self._changed = asyncio.Event()
        self._checked: dict[UnitKey, int] = {}  # unit that is waking -> number of its endpoints that are checked

    def notify(self) -> None:
        """Let all waiting tasks check the table again, because it has changed."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def is_gone(self, unit: Unit) -> bool:
        """Wait until the table has no endpoints of a stopped unit. Return ``False`` if that takes too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOPPED_AFTER):
                while running_endpoints(unit, self._source.table):
                    await self._changed.wait()
        return not running_endpoints(unit, self._source.table)

    async def wake(self, unit: Unit) -> None:
        """Wake a unit and wait until one of its containers answers.

        If other units of the same engine are waking, the unit may have to wait for its turn. The time until its turn
        does not count toward ``wake_timeout``. A unit whose containers somebody else has started needs no turn.

        Raises:
            SleepError: the attempt failed, or took longer than the unit's ``wake_timeout``.

        """
        unit.done = ()
        is_running = running_endpoints(unit, self._source.table)
        engines = () if is_running else by_engine(members_of(unit, self._source))
        limit = min(unit.config.wake_timeout, LONGEST_WAKE)
        try:
            async with self._turns.take(engines, partial(self._step, unit, QUEUES)), asyncio.timeout(limit):
                await self._wake(unit)
        except TimeoutError:
            what = f"{unit.name} was not ready within {format_duration(limit)}, while {unit.step}"
            raise SleepError(f"{what}; raise proxy.wake_timeout if it needs longer") from None
        finally:
            self._step(unit, "")

    async def _wake(self, unit: Unit) -> None:
        """Start all containers of a unit and wait until the first one is ready. The others continue to start."""
        members = members_of(unit, self._source)
        if not members:
            raise SleepError(f"{unit.name} no longer exists")
        unit.unstarted = {}
        starting = asyncio.get_running_loop().create_task(self._start_all(unit, members), name=f"start {unit.name}")
        try:
            await self._until_ready(unit, members, starting)
        except BaseException:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            raise
        finally:
            self._checked.pop(unit.key, None)
        self._starting[unit.key] = starting
        starting.add_done_callback(partial(self._started, unit))

    def _started(self, unit: Unit, starting: asyncio.Task[None]) -> None:
        if self._starting.get(unit.key) is starting:
            del self._starting[unit.key]
        if not starting.cancelled() and (error := starting.exception()) is not None:
            unit.unstarted = {unit.name: str(error)}
        for name, reason in unit.unstarted.items():
            log.warning("%s: woke the others, but could not wake %s: %s", unit.engine, name, reason)

    async def stop(self, unit: Unit) -> None:
        """Cancel the start of a unit's remaining containers."""
        if (starting := self._starting.get(unit.key)) is not None:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)

    async def close(self) -> None:
        """Cancel the start of all remaining containers."""
        for starting in (found := [*self._starting.values()]):
            starting.cancel()
        await asyncio.gather(*found, return_exceptions=True)

    async def _start_all(self, unit: Unit, members: list[Container]) -> None:
        """Start containers and the containers that they need.

        Raises:
            SleepError: none of the containers could be started.

        """
        names = [member.container_name for member in members]
        self._step(unit, f"starting {names[0]}")
        directories = {engine: Directory(self._source.containers_of(engine)) for engine in by_engine(members)}
        starts = (
            self._start_member(unit, member, plan_wake([member], directories[member.provider])) for member in members
        )
        results = await asyncio.gather(*starts, return_exceptions=True)
        failures = {name: error for name, error in zip(names, results, strict=True) if error is not None}
        self.notify()
        for error in failures.values():
            if len(failures) == len(members) or not isinstance(error, SleepError):
                raise error
        unit.unstarted = {name: str(error) for name, error in failures.items()}
        self._step(unit, f"waiting for {unit.name} to answer", done=f"started {unit.name}")

    async def _start_member(self, unit: Unit, member: Container, plan: WakePlan | str) -> None:
        if isinstance(plan, str):
            raise SleepError(plan)
        for stage in plan.stages:
            await all_of(
                self._wake_dependency(unit, member.provider, it, plan.conditions[it.container_id]) for it in stage
            )
        self._step(unit, f"starting {member.container_name}")
        await self._start(member.provider, member)

    async def _wake_dependency(self, unit: Unit, engine: str, container: Container, condition: Condition) -> None:
        """Start a container that others need, and wait for the condition. Concurrent calls share one attempt."""
        name = container.container_name
        self._step(unit, f"starting {name}" if condition == "service_started" else _waits(name, condition))
        key = (engine, container.container_id, condition)

        async def run() -> None:
            await self._start(engine, container)
            await self._engine(engine).wait_for(container, condition)

        try:
            await self._shared.setdefault(key, SingleFlight(run)).result()
        finally:
            self._shared.pop(key, None)  # a later caller makes a new attempt, which finds it running
        what = f"started {name}" if condition == "service_started" else _waits(name, condition).replace("ing", "ed", 1)
        self._step(unit, unit.step, done=what)

    async def _start(self, engine: str, container: Container) -> None:
        async with self._slots.setdefault(engine, asyncio.Semaphore(MOST_AT_ONCE)):
            await self._engine(engine).start(container)

    async def _until_ready(self, unit: Unit, members: list[Container], starting: asyncio.Task[None]) -> None:
        """Wait until an endpoint of a unit answers. Raise :class:`SleepError` if all its containers have exited."""
        loop = asyncio.get_running_loop()
        began = 0.0  # when the table first had an endpoint
        look_at = loop.time() + _LOOK_AGAIN
        while True:
            changed = self._changed
            ready = [it for it in running_endpoints(unit, self._source.table) if it[1].state == "ready"]
            self._checked[unit.key] = len(ready)
            found = await self._check(ready)
            if found is Readiness.READY:
                return
            if starting.done():
                starting.result()
                if loop.time() >= look_at:
                    look_at = loop.time() + _LOOK_AGAIN
                    ended = [await self._engine(member.provider).ended(member) for member in members]
                    if all(ended):
                        raise SleepError(ended[0])
            if ready:
                began = began or loop.time()
                waited = loop.time() - began
                pause = pause_between_attempts(waited, sum(self._checked.values()))
                if found is Readiness.STARTING:
                    pause = max(pause, min(_LONGEST_CHECK_INTERVAL, waited * _CHECK_SHARE))
                await asyncio.sleep(pause)
            else:
                await _event(changed, _LOOK_AGAIN)

    async def _check(self, endpoints: list[tuple[Route, Endpoint]]) -> Readiness:
        """Return the state of the endpoint that is closest to being ready."""
        found = Readiness.REFUSED
        for start in range(0, len(endpoints), _CHECKS_AT_ONCE):
            tasks = [asyncio.ensure_future(self._probe(*it)) for it in endpoints[start : start + _CHECKS_AT_ONCE]]
            try:
                for next_done in asyncio.as_completed(tasks):
                    match await next_done:
                        case Readiness.READY:
                            return Readiness.READY
                        case Readiness.STARTING:
                            found = Readiness.STARTING
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return found

    def _step(self, unit: Unit, step: str, *, done: str = "") -> None:
        unit.step = step
        if done:
            unit.done = (*unit.done, done)
        self._on_step(unit)


def _waits(name: str, condition: Condition) -> str:
    return f"waiting for {name} to {'complete' if condition.startswith('service_completed') else 'become healthy'}"


async def _event(event: asyncio.Event, timeout: float) -> None:  # noqa: ASYNC109  # both outcomes are the same to the caller
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await event.wait()
