"""Stops or pauses the containers of a unit, then those of their dependencies that no other container needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from pilotage.labels.container_options import STOP_TIMEOUT, IdleConfig
from pilotage.sleep.dependencies import Directory, plan_wake, usage
from pilotage.sleep.engine_actions import all_of
from pilotage.sleep.state import Phase
from pilotage.sleep.units import by_engine, members_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pilotage.containers.container import Container
    from pilotage.sleep.engine_actions import EngineActions
    from pilotage.sleep.units import Source, Unit

__all__ = ["Stops", "stop_unit", "users_of"]

_ENGINE_SOCKETS: Final = ("/docker.sock", "/podman.sock")

_PLAIN_STOP: Final = IdleConfig(idle_timeout=0.0, stop_method="stop", stop_timeout=STOP_TIMEOUT)


class Stops(Protocol):
    """The interface that :func:`stop_unit` needs from its caller."""

    def engine(self, name: str) -> EngineActions:
        """Return the object that sends commands to an engine."""

    def unit(self, alias: str) -> Unit | None:
        """Return the unit of a route; ``None`` if its containers do not sleep."""

    async def sleep_with(self, dependant: Unit, unit: Unit) -> None:
        """Put ``unit`` to sleep after ``dependant``, which needed it. Return once it sleeps or either must be woken."""


def users_of(unit: Unit, source: Source) -> frozenset[str]:
    """Return the names of running containers outside a unit that need one of its containers."""
    found: set[str] = set()
    for engine, members in by_engine(members_of(unit, source)).items():
        used = usage(source.containers_of(engine))
        found |= _users(members, used)
    return frozenset(found)


def _users(members: Collection[Container], used: Mapping[str, frozenset[str]]) -> set[str]:
    users = {name for member in members for name in used.get(member.container_id, ())}
    return users - {member.container_name for member in members}


async def stop_unit(unit: Unit, source: Source, stops: Stops) -> None:
    """Stop, pause or kill the containers of a unit, then the containers that only this unit needed.

    A container is stopped before the containers that it needs. A needed container is left alone if it has a positive
    idle timeout of its own, or a route but no idle timeout. If it has a route and a negative idle timeout, it is put to
    sleep once its requests have ended. If the unit must be woken in the meantime, the remaining containers stay awake.

    Raises:
        SleepError: a container of the unit could not be stopped.

    """
    members = members_of(unit, source)
    await all_of(
        stops.engine(member.provider).stop(member, member.idlewatcher_config or unit.config) for member in members
    )
    for engine, stopped in by_engine(members).items():
        await _stop_needed(unit, engine, stopped, source, stops)


async def _stop_needed(unit: Unit, engine: str, stopped: list[Container], source: Source, stops: Stops) -> None:
    plan = plan_wake(stopped, Directory(source.containers_of(engine)))
    if isinstance(plan, str):
        return
    asleep = {it.container_name for it in stopped}
    for stage in reversed(plan.stages):
        for container in stage:
            used = usage(source.containers_of(engine))
            if unit.state.is_wanted or _controls_engine(container) or _users([container], used) - asleep:
                continue
            config = container.idlewatcher_config or _PLAIN_STOP
            if config.idle_timeout > 0:
                continue
            aliases = [it.alias for it in source.routes_of(engine, container.container_id) if not it.excluded]
            if not aliases:
                await stops.engine(engine).stop(container, config if config.stop_method else _PLAIN_STOP)
                asleep.add(container.container_name)
                continue
            other = stops.unit(aliases[0]) if config.idle_timeout < 0 else None
            if other is not None and not users_of(other, source) - asleep:
                await stops.sleep_with(unit, other)
                if other.state.phase is not Phase.READY:
                    asleep |= {it.container_name for it in members_of(other, source)}


def _controls_engine(container: Container) -> bool:
    """Return whether a container mounts an engine's socket. Such a container is never stopped as a dependency."""
    return any(
        mount.Destination.endswith(_ENGINE_SOCKETS) or mount.Source.endswith(_ENGINE_SOCKETS)
        for mount in container.mounts
    )
