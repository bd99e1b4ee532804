"""Describes the sleep state of containers for commands and the API. Pure: the caller passes in the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.secrets import clean
from pilotage.core.text import count, format_duration
from pilotage.sleep.dependencies import usage
from pilotage.sleep.state import Phase

if TYPE_CHECKING:
    from collections.abc import Collection

    from pilotage.core.problems import Severity
    from pilotage.sleep.units import Source, Unit

__all__ = ["ALLOW", "SleepStatus", "describe", "problems_of", "status_of", "statuses_of"]


_MOST_USERS: Final = 3  # how many are named

_NOT_WAKING: Final = {
    "restarting": "it exits again and again, so no request can wake it; 'docker logs {name}' shows why",
    "dead": "it is dead, so no request can wake it; remove it and create it again",
}
"""State of a container that a request cannot wake -> why."""

ALLOW: Final = (
    "a socket proxy in front of the engine must allow POST /containers/*/start, stop, kill, pause and unpause; "
    "or set idle: false for the engine"
)
"""The end of an error message about an engine that allows only reading."""


class SleepStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of containers that sleep and wake together. Times are in seconds since 1970, durations in seconds.

    Attributes:
        engine: name of the containers' engine.
        container: name of the oldest container.
        aliases: aliases of the containers' routes.
        state: ``asleep``, ``waking``, ``ready``, ``quiescing``, ``stopping`` or ``failed``.
        since: when this state began.
        step: the current step of waking the containers; ``""`` if they are not waking.
        awake_because: why the containers do not go to sleep now; ``""`` if they are not awake, or are only waiting for
            their timeout.
        sleeps_at: when the containers go to sleep if there are no further requests; ``None`` if they stay awake.
        in_progress: number of requests and connections in progress.
        last_wake: how long the last successful wake-up took; ``None`` before the first wake-up.
        failure: why the containers could not be woken or put to sleep; ``""`` if nothing failed.
        retry_at: when the next attempt to wake the containers is allowed; ``None`` unless the last attempt failed.

    """

    engine: str
    container: str
    aliases: tuple[str, ...]
    state: str
    since: float
    step: str = ""
    awake_because: str = ""
    sleeps_at: float | None = None
    in_progress: int = 0
    last_wake: float | None = None
    failure: str = ""
    retry_at: float | None = None


def status_of(unit: Unit, users: Collection[str] = (), *, now: float, wall: float) -> SleepStatus:
    """Return the status of a unit.

    Args:
        unit: the unit.
        users: names of running containers that need this unit.
        now: the time of the monotonic clock.
        wall: the same moment, in seconds since 1970.

    """
    state = unit.state

    def at(moment: float | None) -> float | None:
        return None if moment is None else round(wall + moment - now, 3)

    return SleepStatus(
        engine=unit.engine,
        container=unit.name,
        aliases=tuple(sorted(unit.aliases)),
        state=state.phase.value,
        since=at(state.since) or 0.0,
        step=clean(unit.step),
        awake_because=_why(unit, users),
        sleeps_at=at(state.sleeps_at) if not unit.silent else None,
        in_progress=state.in_progress,
        last_wake=None if state.last_wake is None else round(state.last_wake, 3),
        failure=clean(state.failure),
        retry_at=at(state.retry_at),
    )


def statuses_of(units: Collection[Unit], source: Source, *, now: float, wall: float) -> list[SleepStatus]:
    """Return the status of each unit, sorted by engine and container. The arguments are as for :func:`status_of`."""
    used = {engine: usage(source.containers_of(engine)) for engine in {unit.engine for unit in units}}
    found = (status_of(it, used[it.engine].get(it.container_id, ()), now=now, wall=wall) for it in units)
    return sorted(found, key=lambda it: (it.engine, it.container))


def _why(unit: Unit, users: Collection[str]) -> str:
    state = unit.state
    if state.phase is not Phase.READY:
        return ""
    if state.in_progress:
        return f"{count(state.in_progress, 'request')} in progress"
    if unit.silent:
        return f"waiting for Envoy {', '.join(unit.silent)} to report its requests"
    shown = ", ".join(sorted(users)[:_MOST_USERS])
    more = f" and {count(len(users) - _MOST_USERS, 'other')}" if len(users) > _MOST_USERS else ""
    return f"used by {shown}{more}" if users else ""


def problems_of(unit: Unit, source: Source) -> list[Problem]:
    """Return why the containers of a unit could not be woken or put to sleep, or cannot be woken by a request."""
    found = []
    if unit.state.failure.endswith(ALLOW):  # the same for all containers of the engine
        message = "containers on this engine are not put to sleep, because the engine refuses to start and stop them"
        found.append(Problem(message=message, hint=ALLOW, provider=unit.engine))
    elif unit.state.failure:
        verb = "woken" if unit.state.phase in (Phase.FAILED, Phase.ASLEEP, Phase.WAKING) else "put to sleep"
        found.append(_problem(unit, unit.name, f"could not be {verb}: {unit.state.failure}", "error"))
    container = source.container(unit.engine, unit.container_id) if unit.state.phase is not Phase.READY else None
    if container is not None and (why := _NOT_WAKING.get(container.state)):
        found.append(_problem(unit, unit.name, why.format(name=unit.name), "warning"))
    for name, reason in unit.unstarted.items():
        found.append(_problem(unit, name, f"could not be woken, unlike the others: {reason}", "warning"))
    return found


def _problem(unit: Unit, container: str, message: str, severity: Severity) -> Problem:
    label = "proxy.idle_timeout"
    return Problem(message=message, provider=unit.engine, container=container, label=label, severity=severity)


def describe(status: SleepStatus, *, wall: float) -> str:
    """Return a status in one phrase, such as ``waking: starting db`` or ``sleeps in 5m without a request``.

    Args:
        status: the status.
        wall: the current time, in seconds since 1970.

    """
    if status.state == Phase.WAKING:
        return f"waking: {status.step}" if status.step else "waking"
    if status.state == Phase.FAILED:
        return f"could not be woken: {status.failure}"
    if status.state in (Phase.QUIESCING, Phase.STOPPING):
        return "falling asleep"
    if status.state == Phase.ASLEEP:
        return "asleep; the next request wakes it"
    if status.awake_because:
        return f"awake: {status.awake_because}"
    if status.sleeps_at is None:
        return "awake"
    return f"sleeps in {format_duration(max(0, round(status.sleeps_at - wall)))} without a request"
