"""Handles swarms: services, whose tasks are containers, and overlay networks that this host may not reach. Pure.

Rules: decision 40, Engine API ``GET /services``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.engine.types import Port, Service
from pilotage.labels.keys import is_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pilotage.containers.container import Container
    from pilotage.engine.types import Endpoint, Summary

__all__ = [
    "SERVICE_ID",
    "SERVICE_NAME",
    "TASK_ID",
    "SwarmServices",
    "is_task",
    "labels_not_read",
    "not_a_task",
    "reachable",
    "task_id",
    "unreachable",
]

SERVICE_ID: Final = "com.docker.swarm.service.id"
SERVICE_NAME: Final = "com.docker.swarm.service.name"
TASK_ID: Final = "com.docker.swarm.task.id"
_INGRESS: Final = "ingress"
_SWARM_ID_LENGTH: Final = 25  # networks of a single engine have IDs of 64 digits


_ID: Final = re.compile(r"[a-z0-9]{25}")


class SwarmServices(msgspec.Struct, frozen=True):
    """The services of an engine's swarm, as the engine reports them.

    Anyone can start a container with the labels of a task. Only the engine's own list of tasks proves that a container
    is a task.

    Attributes:
        by_id: ID -> service; empty if the engine does not report its services.
        tasks: ID of each container that the engine reports as a task -> ID of the task's service.
        error: why the engine does not report its services; ``""`` if it does.

    """

    by_id: Mapping[str, Service] = {}
    tasks: Mapping[str, str] = {}
    error: str = ""

    def is_forged(self, container_id: str) -> bool:
        """Return whether a container with a task's labels is missing from the tasks, if the engine reports tasks."""
        return not self.error and container_id not in self.tasks

    def complete(self, task: Summary) -> Summary:
        """Return a task's list entry with the labels and published ports of its service. The container's labels win.

        A container that only claims to be a task gets neither labels nor ports. The service's name is even removed from
        that container's labels, because containers with the same service name count as replicas.
        """
        labels = task.Labels or {}
        if self.is_forged(task.Id):
            return msgspec.structs.replace(task, Labels={k: text for k, text in labels.items() if k != SERVICE_NAME})
        service = self.by_id.get(self.tasks.get(task.Id, ""))
        if service is None:
            return task
        given = (service.Spec and service.Spec.Labels) or {}
        published = (service.Endpoint and service.Endpoint.Ports) or ()
        ports = [
            Port(port.TargetPort, port.PublishedPort, port.Protocol)
            for port in published
            if port.PublishMode == _INGRESS and port.PublishedPort
        ]
        own = {key: value for key, value in given.items() if is_own(key)}
        return msgspec.structs.replace(task, Labels={**own, **labels}, Ports=[*(task.Ports or ()), *ports])


def is_task(container: Container) -> bool:
    """Return whether a container has the labels of a swarm task. Anyone may have written them."""
    return SERVICE_ID in container.actual_labels or SERVICE_NAME in container.actual_labels


def task_id(container: Container) -> str:
    """Return the ID of the swarm task in a container's labels; ``""`` if the label is missing or malformed."""
    text = container.actual_labels.get(TASK_ID, "")
    return text if _ID.fullmatch(text) else ""


def not_a_task(service: str) -> Problem:
    """Return the warning that a container has a task's labels, but that its engine reports no such task."""
    return Problem(
        message=f"it is not a task of the swarm service {shorten(service)!r}, although its labels say so: the engine "
        "reports no such task, so it gets neither labels nor ports from the service",
        hint="remove its labels com.docker.swarm.*; a task that has just started is recognized within seconds",
        severity="warning",
    )


def labels_not_read(service: str, why: str) -> Problem:
    """Return the warning that the labels of a swarm service cannot be read."""
    return Problem(
        message=f"the labels of its swarm service {shorten(service)} cannot be read: {why}",
        hint="set them on the containers (--container-label, or 'labels' beside 'deploy' in a stack file), "
        "or watch a manager and allow GET /services and GET /tasks",
        severity="warning",
    )


def reachable(
    networks: Mapping[str, Endpoint | None], routes_to: Callable[[str], bool]
) -> Mapping[str, Endpoint | None]:
    """Return the networks without the overlay networks to which this host has no route.

    The overlay ``ingress`` is always left out, because it carries only the published ports of services.

    Args:
        networks: a container's networks.
        routes_to: returns whether this host has a route to an address, other than its default route.

    """
    for endpoint in networks.values():
        if endpoint is not None and len(endpoint.NetworkID) == _SWARM_ID_LENGTH:
            break
    else:
        return networks  # almost always
    return {name: it for name, it in networks.items() if not _is_lost(name, it, routes_to)}


def _is_lost(name: str, endpoint: Endpoint | None, routes_to: Callable[[str], bool]) -> bool:
    if endpoint is None or len(endpoint.NetworkID) != _SWARM_ID_LENGTH:
        return False
    address = endpoint.IPAddress or endpoint.GlobalIPv6Address
    return name == _INGRESS or (bool(address) and not routes_to(address))


def unreachable(networks: Iterable[str]) -> Problem:
    """Return the problem that a container has addresses only on overlay networks that this host cannot reach."""
    names = ", ".join(sorted(networks))
    return Problem(
        message=f"not reachable: this host has no route to its overlay network {names}, and it publishes no port",
        hint="publish its port, or attach it and pilotage to an attachable overlay network",
    )
