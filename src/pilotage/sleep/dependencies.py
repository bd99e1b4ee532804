"""Finds the containers that a container needs, and the order in which to wake them. Pure.

Rules: LABELS II.4.3, and decision 9 for where the entries come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pilotage.containers.container import Container

__all__ = ["Condition", "Dependency", "Directory", "WakePlan", "parse_dependency", "plan_wake"]

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]
_CONDITIONS: Final = ("service_started", "service_healthy", "service_completed_successfully")

_MOST: Final = 100
"""Maximum number of containers that waking one container may wake."""


class Dependency(msgspec.Struct, frozen=True, gc=False):
    """An entry of ``depends_on``.

    Attributes:
        name: a Compose service or a container.
        condition: what to wait for before what needs it is started.

    """

    name: str
    condition: Condition = "service_started"


class WakePlan(msgspec.Struct, frozen=True):
    """What must be awake before a container is started.

    Attributes:
        stages: containers that can be woken at the same time, in the order of the stages; those that they need are in
            earlier stages.
        conditions: container ID -> what to wait for; the strictest, if several containers need it.
        needs: container ID -> IDs of the containers that it needs.

    """

    stages: tuple[tuple[Container, ...], ...] = ()
    conditions: Mapping[str, Condition] = {}
    needs: Mapping[str, tuple[str, ...]] = {}


def parse_dependency(entry: str) -> Dependency | str:
    """Parse ``db``, ``db:service_healthy`` or ``db:service_healthy:false``; return an error as text."""
    name, _, rest = entry.partition(":")
    condition = rest.partition(":")[0].strip() or "service_started"
    for known in _CONDITIONS:
        if condition == known:
            return Dependency(name.strip(), known)
    shown = shorten(condition)
    advice = did_you_mean(condition, _CONDITIONS) or f"write one of {', '.join(_CONDITIONS)}"
    return f"the dependency {shorten(name)!r} has the unknown condition {shown!r}; {advice}"


class Directory:
    """Finds containers of one engine by Compose service or by name.

    Args:
        containers: all containers of the engine.

    """

    def __init__(self, containers: Iterable[Container]) -> None:
        self._services: dict[tuple[str, str], list[Container]] = {}
        self._names: dict[str, Container] = {}
        for container in containers:
            if container.is_oneoff:
                continue
            self._names[container.container_name] = container
            if container.compose_service:
                key = (container.compose_project, container.compose_service)
                self._services.setdefault(key, []).append(container)

    def find(self, name: str, seen_from: Container) -> list[Container]:
        """Return the containers of a service of the same Compose project, or else the container with this name."""
        found = self._services.get((seen_from.compose_project, name), []) if seen_from.compose_project else []
        if found:
            return sorted(found, key=lambda container: container.container_name)
        named = self._names.get(name)
        return [named] if named is not None else []

    def near(self, name: str, seen_from: Container) -> str:
        """Return a hint with the most similar name, or ``""``."""
        services = [service for project, service in self._services if project == seen_from.compose_project]
        return did_you_mean(name, [*services, *self._names])


def plan_wake(containers: Sequence[Container], directory: Directory) -> WakePlan | str:
    """Return what must be awake before some containers are started, or why they cannot be woken.

    Args:
        containers: the containers to wake, which are not part of the plan.
        directory: the containers of their engine.

    """
    order: dict[str, Container] = {}  # in the order of starting
    conditions: dict[str, Condition] = {}
    needs: dict[str, tuple[str, ...]] = {}
    depth: dict[str, int] = {}
    path: list[str] = []

    def visit(container: Container) -> str:
        name = container.container_name
        if container.container_id in needs:
            return ""
        if name in path:
            return f"containers depend on each other: {' -> '.join([*path[path.index(name) :], name])}"
        if len(path) > _MOST:
            return f"{path[0]} needs more than {_MOST} other containers"
        path.append(name)
        found: dict[str, Container] = {}
        for entry in container.depends_on:
            dependency = parse_dependency(entry)
            if isinstance(dependency, str):
                return f"{name}: {dependency}"
            if not dependency.name:
                continue
            targets = [
                it for it in directory.find(dependency.name, container) if it.container_id != container.container_id
            ]
            if not targets:
                hint = directory.near(dependency.name, container)
                return f"{name} needs {shorten(dependency.name)!r}, which does not exist{f'; {hint}' if hint else ''}"
            for target in targets:
                known = conditions.get(target.container_id, dependency.condition)
                conditions[target.container_id] = max(known, dependency.condition, key=_CONDITIONS.index)
                found[target.container_id] = target
                if error := visit(target):
                    return error
                if len(order) >= _MOST and target.container_id not in order:
                    return f"{name} needs more than {_MOST} other containers"
                order.setdefault(target.container_id, target)
        path.pop()
        needs[container.container_id] = tuple(found)
        depth[container.container_id] = 1 + max((depth[each] for each in found), default=-1)
        return ""

    for container in containers:
        if error := visit(container):
            return error
    together = {container.container_id for container in containers}
    stages: dict[int, list[Container]] = {}
    for container_id, container in order.items():
        if container_id not in together:
            stages.setdefault(depth[container_id], []).append(container)
    return WakePlan(tuple(tuple(stages[level]) for level in sorted(stages)), conditions, needs)
