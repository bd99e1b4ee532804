"""Puts the containers of a unit to sleep, then those that only they needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pilotage.labels.container_options import STOP_TIMEOUT, IdleConfig
from pilotage.sleep.dependencies import Directory, parse_dependency, plan_wake
from pilotage.sleep.engine_actions import all_of
from pilotage.sleep.units import members_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pilotage.containers.container import Container
    from pilotage.sleep.engine_actions import EngineActions
    from pilotage.sleep.units import Source, Unit

__all__ = ["stop_unit", "users_of"]

_ENGINE_SOCKETS: Final = ("/docker.sock", "/podman.sock")

_PLAIN_STOP: Final = IdleConfig(idle_timeout=0.0, stop_method="stop", stop_timeout=STOP_TIMEOUT)


def users_of(unit: Unit, source: Source) -> frozenset[str]:
    """Return the names of running containers that need a container of a unit."""
    members = {it.container_id for it in members_of(unit, source)}
    return frozenset(_users(members, source.containers_of(unit.engine)))


async def stop_unit(unit: Unit, source: Source, engine: EngineActions) -> None:
    """Stop, pause or kill the containers of a unit. Then stop those that it needed and nobody else does.

    A needed container is left alone if it has a route of its own, or sleeps by an idle timeout of its own.

    Raises:
        SleepError: a container of the unit could not be stopped.

    """
    members = members_of(unit, source)
    await all_of(engine.stop(member, unit.config) for member in members)
    containers = list(source.containers_of(unit.engine))
    directory = Directory(containers)
    plan = plan_wake(members, directory)
    if isinstance(plan, str):
        return
    asleep = {it.container_id for it in members}
    for stage in reversed(plan.stages):
        for container in stage:
            if _may_sleep(container, source, unit.engine) and not _users({container.container_id}, containers, asleep):
                await engine.stop(container, _with_defaults(container.idlewatcher_config))
                asleep.add(container.container_id)


def _may_sleep(container: Container, source: Source, engine: str) -> bool:
    """Return whether a needed container sleeps with what needs it. Never one that controls the engine, such as ours."""
    if any(
        mount.Destination.endswith(_ENGINE_SOCKETS) or mount.Source.endswith(_ENGINE_SOCKETS)
        for mount in container.mounts
    ):
        return False
    config = container.idlewatcher_config
    if config is not None and config.idle_timeout:
        return config.idle_timeout < 0
    return all(route.excluded for route in source.routes_of(engine, container.container_id))


def _with_defaults(config: IdleConfig | None) -> IdleConfig:
    return _PLAIN_STOP if config is None or not config.stop_method else config


def _users(wanted: Collection[str], containers: Iterable[Container], asleep: Collection[str] = ()) -> set[str]:
    """Return the names of running containers that need one of some containers, except those that are asleep."""
    containers = list(containers)
    directory = Directory(containers)
    found = set()
    for container in containers:
        if not container.depends_on or not container.running:
            continue
        if container.container_id in asleep or container.container_id in wanted:
            continue
        for entry in container.depends_on:
            dependency = parse_dependency(entry)
            if not isinstance(dependency, str) and dependency.name:
                targets = directory.find(dependency.name, container)
                if any(target.container_id in wanted for target in targets):
                    found.add(container.container_name)
    return found
