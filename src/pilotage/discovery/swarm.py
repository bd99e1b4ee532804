"""Reads the services of an engine's swarm. A task (a container) takes its labels and ports from its service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from pilotage.containers.swarm import SwarmServices, is_task, task_id
from pilotage.core.errors import EngineRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pilotage.containers.container import Container
    from pilotage.containers.parse import ContainerParser
    from pilotage.engine.client import EngineClient

__all__ = ["ServicesChange", "read_services", "update_services"]

ServicesChange = Literal["", "tasks", "services"]
"""Kind of change: nothing, only the known tasks, or also the services."""


async def update_services(
    parser: ContainerParser,
    containers: Iterable[Container],
    client: EngineClient,
    *,
    present: Collection[str] | None = None,
) -> ServicesChange:
    """Read the engine's tasks and services for containers whose labels say that they are tasks.

    Only unknown tasks are requested, so the cost does not depend on the total number of tasks.

    Args:
        parser: the parser of the engine's containers. Its ``services`` are replaced with what was read.
        containers: parsed containers.
        client: the engine.
        present: IDs of all containers, after a full list. If it is given, tasks whose containers are gone are
            forgotten, and services are read again if there have ever been tasks.

    Returns:
        What changed: ``"services"``, ``"tasks"`` or ``""`` for nothing. After any change, parse the tasks among
        ``containers`` again. If services changed, parse all other containers again, too.

    Raises:
        EngineError: the connection failed or the response is invalid.

    """
    known = parser.services
    tasks = list(filter(is_task, containers))
    again = present is not None
    if (known is None and not tasks) or (known is not None and known.error and not again):
        return ""
    found = await read_services(client) if known is None or again else known
    if not found.error:
        found = await _with_tasks(found, known, tasks, client, present)
    parser.services = found
    if known is None or (found.by_id, found.error) != (known.by_id, known.error):
        return "services"
    return "tasks" if found.tasks.keys() - known.tasks.keys() else ""


async def _with_tasks(
    found: SwarmServices,
    known: SwarmServices | None,
    containers: Iterable[Container],
    client: EngineClient,
    present: Collection[str] | None,
) -> SwarmServices:
    """Return the services with their tasks: the tasks known before, and the tasks among the given containers."""
    before: Mapping[str, str] = known.tasks if known is not None else {}
    if present is not None:
        before = {container_id: service for container_id, service in before.items() if container_id in present}
    asked = {it.container_id: wanted for it in containers if it.container_id not in before and (wanted := task_id(it))}
    if not asked:
        return msgspec.structs.replace(found, tasks=before)
    try:
        tasks = await client.tasks(asked.values())
    except EngineRefused as error:
        return SwarmServices(error=_reason(error))
    new: dict[str, str] = {}
    for task in tasks:
        status = task.Status.ContainerStatus if task.Status is not None else None
        if status is not None and asked.get(status.ContainerID) == task.ID:
            new[status.ContainerID] = task.ServiceID
    if found is known and any(service not in found.by_id for service in new.values()):
        found = await read_services(client)
    return found if found.error else msgspec.structs.replace(found, tasks={**before, **new})


async def read_services(client: EngineClient) -> SwarmServices:
    """Return the services of the engine's swarm, or the reason why the engine does not report them.

    Raises:
        EngineError: the connection failed or the response is invalid.

    """
    try:
        services = await client.services()
    except EngineRefused as error:
        return SwarmServices(error=_reason(error))
    return SwarmServices({service.ID: service for service in services})


def _reason(error: EngineRefused) -> str:
    return "this engine is not a swarm manager" if error.status == 503 else error.what
