"""Finds the containers that a container needs, and the order in which to wake them. Pure.

LABELS II.4.3 defines the rules. Decision 9 says from which labels the dependencies are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from pilotage.containers.container import Container
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Condition", "Dependency", "Directory", "WakePlan", "parse_dependency", "plan_wake", "usage"]

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]
_CONDITIONS: Final = ("service_started", "service_healthy", "service_completed_successfully")

_MOST: Final = 100
"""Maximum number of containers that waking one container may wake."""


class Dependency(msgspec.Struct, frozen=True, gc=False):
    """An entry of ``depends_on``.

    Attributes:
        name: the name of a Compose service or of a container.
        condition: what to wait for before the dependent container is started.

    """

    name: str
    condition: Condition = "service_started"


class WakePlan(msgspec.Struct, frozen=True):
    """The containers that must be awake before a container is started.

    Attributes:
        stages: groups of containers, in the order in which to wake them. The containers of one group can be woken at
            the same time. The containers that they need are in earlier groups.
        conditions: ID of a needed container -> the condition that it must meet; if several containers need it, the
            strictest condition.
        needs: container ID -> IDs of the containers that this container needs.

    """

    stages: tuple[tuple[Container, ...], ...] = ()
    conditions: Mapping[str, Condition] = {}
    needs: Mapping[str, tuple[str, ...]] = {}


def parse_dependency(entry: str) -> Dependency | str:
    """Parse ``NAME[:CONDITION[:IGNORED]]``; return an error message if the condition is unknown."""
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
        """Return the containers of a service in the Compose project of ``seen_from``, or else the container ``name``.

        A container outside the project is returned only if it has opted in with an idle timeout of its own. Otherwise,
        anyone who may start containers could start and stop other people's containers.
        """
        found = self._services.get((seen_from.compose_project, name), []) if seen_from.compose_project else []
        if found:
            return sorted(found, key=lambda container: container.container_name)
        named = self._names.get(name)
        return [named] if named is not None and _may_use(named, seen_from) else []

    def is_foreign(self, name: str, seen_from: Container) -> bool:
        """Return whether a container with this name exists that ``seen_from`` may not use; see :meth:`find`."""
        return name in self._names and not self.find(name, seen_from)

    def near(self, name: str, seen_from: Container) -> str:
        """Return a hint with the most similar service or container name; ``""`` if no name is similar."""
        services = [service for project, service in self._services if project == seen_from.compose_project]
        return did_you_mean(name, [*services, *self._names])


class _UnusableError(Exception):
    """Containers cannot be woken. The message says why."""


class _Planner:
    """Collects the contents of a :class:`WakePlan` by visiting containers and their dependencies depth first."""

    def __init__(self, directory: Directory) -> None:
        self.order: dict[str, Container] = {}  # those that are needed by others, in an order in which they can start
        self.conditions: dict[str, Condition] = {}
        self.needs: dict[str, tuple[str, ...]] = {}
        self.depth: dict[str, int] = {}
        self._directory = directory
        self._path: list[str] = []

    def visit(self, container: Container) -> None:
        name, path = container.container_name, self._path
        if container.container_id in self.needs:
            return
        if name in path:
            raise _UnusableError(f"containers depend on each other: {' -> '.join([*path[path.index(name) :], name])}")
        if len(path) > _MOST:
            raise _UnusableError(f"{path[0]} needs more than {_MOST} other containers")
        path.append(name)
        found: list[str] = []
        for dependency, target in self._targets(container):
            known = self.conditions.get(target.container_id, dependency.condition)
            self.conditions[target.container_id] = max(known, dependency.condition, key=_CONDITIONS.index)
            found.append(target.container_id)
            self.visit(target)
            self.order.setdefault(target.container_id, target)
            if len(self.order) > _MOST:
                raise _UnusableError(f"{path[0]} needs more than {_MOST} other containers")
        path.pop()
        self.needs[container.container_id] = tuple(dict.fromkeys(found))
        self.depth[container.container_id] = 1 + max((self.depth[each] for each in found), default=-1)

    def _targets(self, container: Container) -> Iterator[tuple[Dependency, Container]]:
        name = container.container_name
        for entry in container.depends_on:
            dependency = parse_dependency(entry)
            if isinstance(dependency, str):
                raise _UnusableError(f"{name}: {dependency}")
            if not dependency.name:
                continue
            found = self._directory.find(dependency.name, container)
            if any(it.container_id == container.container_id for it in found):
                raise _UnusableError(
                    f"{name} depends on itself; remove {shorten(dependency.name)!r} from its dependencies"
                )
            if self._directory.is_foreign(dependency.name, container):
                what = f"{name} needs {shorten(dependency.name)!r}, which is not in its Compose project"
                raise _UnusableError(f"{what}; to allow it, set proxy.idle_timeout on {shorten(dependency.name)}")
            if not found:
                hint = self._directory.near(dependency.name, container)
                what = f"{name} needs {shorten(dependency.name)!r}, which does not exist"
                raise _UnusableError(f"{what}; {hint}" if hint else what)
            yield from ((dependency, target) for target in found)


def _may_use(target: Container, user: Container) -> bool:
    is_kin = bool(user.compose_project) and target.compose_project == user.compose_project
    return is_kin or (target.idlewatcher_config is not None and target.idlewatcher_config.idle_timeout != 0)


def plan_wake(containers: Sequence[Container], directory: Directory) -> WakePlan | str:
    """Return the plan to wake all containers that the given ones need, or a message why there is no plan.

    Args:
        containers: the containers to wake. They are not themselves part of the plan.
        directory: all containers of the engine that runs the given containers.

    """
    planner = _Planner(directory)
    try:
        for container in containers:
            planner.visit(container)
    except _UnusableError as error:
        return str(error)
    together = {container.container_id for container in containers}
    stages: dict[int, list[Container]] = {}
    for container_id, container in planner.order.items():
        if container_id not in together:
            stages.setdefault(planner.depth[container_id], []).append(container)
    return WakePlan(tuple(tuple(stages[level]) for level in sorted(stages)), planner.conditions, planner.needs)


def usage(containers: Iterable[Container]) -> Mapping[str, frozenset[str]]:
    """Return ID -> names of the running containers that need this container, given all containers of one engine."""
    found: dict[str, set[str]] = {}
    containers = list(containers)
    directory = Directory(containers)
    for container in containers:
        if container.depends_on and container.running:
            for entry in container.depends_on:
                dependency = parse_dependency(entry)
                if not isinstance(dependency, str) and dependency.name:
                    for target in directory.find(dependency.name, container):
                        found.setdefault(target.container_id, set()).add(container.container_name)
    return {container_id: frozenset(users) for container_id, users in found.items()}
