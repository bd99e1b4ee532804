"""Wakes containers and puts them to sleep through their engine."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from pilotage.core.errors import EngineError, EngineRefused, first_exception
from pilotage.core.text import shorten
from pilotage.engine.types import InspectState
from pilotage.sleep.status import ALLOW

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
    from contextlib import AbstractAsyncContextManager

    from pilotage.containers.container import Container
    from pilotage.engine.client import EngineClient
    from pilotage.labels.container_options import IdleConfig
    from pilotage.sleep.dependencies import Condition

__all__ = ["EngineActions", "SleepError", "all_of"]

_POLL: Final = 0.5
_SHORT_POLL: Final = 0.05
"""Seconds between two inspections while waiting until a container completes, becomes healthy or exits. The interval
grows from ``_SHORT_POLL`` to ``_POLL``."""

_POLL_SHARE: Final = 0.05
"""The interval as a share of the time waited so far, between these two limits."""


class SleepError(Exception):
    """A container could not be woken or put to sleep. The message says why, and what to do."""


class EngineActions:
    """Sends commands to one engine.

    Args:
        connect: returns a client of the engine, to be used as a context manager.

    """

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[EngineClient]]) -> None:
        self._connect = connect

    async def start(self, container: Container) -> None:
        """Start or resume a container. Do nothing if it is already running.

        Raises:
            SleepError: the engine cannot be reached or refuses, or the container is dead or being removed.

        """
        async with self._client(container) as client:
            state = (await client.inspect(container.container_id)).State
            status = state.Status if state is not None else ""
            if status in ("dead", "removing"):
                raise SleepError(f"{container.container_name} is {status}; remove it and create it again")
            if status == "paused" or (state is not None and state.Paused):
                await client.unpause(container.container_id)
            elif status != "running":
                await client.start(container.container_id)

    async def stop(self, container: Container, config: IdleConfig) -> None:
        """Stop, pause or kill a container, as ``config`` says. Do nothing if it is not running or is already paused.

        Raises:
            SleepError: the engine cannot be reached or refuses.

        """
        async with self._client(container) as client:
            state = (await client.inspect(container.container_id)).State
            if state is None or not state.Running or state.Paused:
                return
            if config.stop_method == "pause":
                await client.pause(container.container_id)
            elif config.stop_signal.removeprefix("SIG") not in ("", "KILL"):
                await _stop_by_signal(client, container.container_id, state, config)
            elif config.stop_method == "kill" or config.stop_signal:
                await client.kill(container.container_id)
            else:
                await client.stop(container.container_id, grace=config.stop_timeout)

    async def wait_for(self, container: Container, condition: Condition) -> None:
        """Wait, without a time limit, until a container that has been started meets a condition.

        Raises:
            SleepError: the container cannot meet the condition (it exited, is unhealthy or has no health check), or the
                engine fails.

        """
        now = asyncio.get_running_loop().time
        began = now()
        async with self._client(container) as client:
            while True:
                state = (await client.inspect(container.container_id)).State or InspectState()
                if _is_met(container.container_name, state, condition):
                    return
                await asyncio.sleep(min(_POLL, max(_SHORT_POLL, (now() - began) * _POLL_SHARE)))

    async def ended(self, container: Container) -> str:
        """Return why a container is not running, or the engine's error; ``""`` if it runs or its state is unknown."""
        try:
            async with self._client(container) as client:
                state = (await client.inspect(container.container_id)).State
        except SleepError as error:
            return str(error)
        return "" if state is None or state.Running else _ended(container.container_name, state.ExitCode, state.Error)

    @asynccontextmanager
    async def _client(self, container: Container) -> AsyncGenerator[EngineClient]:
        """Connect to the engine. Raise all errors of the engine as :class:`SleepError`."""
        try:
            async with self._connect() as client:
                yield client
        except EngineRefused as error:
            if error.status == _NOT_FOUND:
                raise SleepError(f"{container.container_name} no longer exists") from error
            if error.status in _FORBIDDEN:
                raise SleepError(f"{error.what}; {ALLOW}") from error
            raise SleepError(str(error)) from error
        except EngineError as error:
            raise SleepError(str(error)) from error


_KILLED_AFTER: Final = 10.0
"""Seconds that a container with ``stop_method: kill`` has to exit after a signal other than SIGKILL."""


async def _stop_by_signal(client: EngineClient, container_id: str, before: InspectState, config: IdleConfig) -> None:
    """Send the signal and wait for the container to exit. If a restart policy starts it again, stop it.

    The engine's own ``stop`` takes a signal since version 1.42 of its API (Docker 23). That does not help here: after
    any signal other than the container's own stop signal, Docker applies the restart policy. If the container does not
    exit in time, it is stopped too, unless ``stop_method`` is ``kill``.
    """
    is_kill = config.stop_method == "kill"
    await client.kill(container_id, signal=config.stop_signal)
    try:
        async with asyncio.timeout(_KILLED_AFTER if is_kill else config.stop_timeout):
            interval = _SHORT_POLL
            while True:
                state = (await client.inspect(container_id)).State
                if state is None or state.Status not in ("running", "restarting"):
                    return
                if state.Status == "restarting" or state.StartedAt != before.StartedAt:
                    break
                await asyncio.sleep(interval)
                interval = min(_POLL, interval * 1.5)
    except TimeoutError:
        if is_kill:
            return
    await client.stop(container_id, grace=0)


_NOT_FOUND: Final = 404
_FORBIDDEN: Final = (401, 403, 405)


def _is_met(name: str, state: InspectState, condition: Condition) -> bool:
    """Return whether a container meets a condition; raise :class:`SleepError` if it can never meet the condition."""
    if condition == "service_completed_successfully":
        if state.Running or state.Status != "exited":
            return False
        if state.ExitCode:
            raise SleepError(_ended(name, state.ExitCode, state.Error))
        return True
    if not state.Running:
        raise SleepError(_ended(name, state.ExitCode, state.Error))
    if condition == "service_started":
        return True
    health = state.Health.Status if state.Health is not None else ""
    if health in ("", "none"):
        advice = f"add a health check, or depend on {name}:service_started"
        raise SleepError(f"{name} has no health check, so it never becomes healthy; {advice}")
    if health == "unhealthy":
        raise SleepError(f"{name} is unhealthy; 'docker inspect {name}' shows the output of its health check")
    return health == "healthy"


def _ended(name: str, code: int, error: str) -> str:
    """Return a message about a container that exited: its exit code, and its error or how to read its log."""
    text = f"{name} exited with code {code}"
    return f"{text}: {shorten(error)}" if error else f"{text}; 'docker logs {name}' shows why"


async def all_of(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines at the same time. If one raises :class:`SleepError`, cancel the others and raise this error."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in coroutines:
                group.create_task(coroutine)
    except* SleepError as errors:
        raise first_exception(errors) from None
