"""Reads the services of an engine's swarm, because a task (a container) has its service's labels and ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.containers.swarm import SERVICE_ID, SwarmServices, is_task
from pilotage.core.errors import EngineRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.containers.container import Container
    from pilotage.containers.parse import ContainerParser
    from pilotage.engine.client import EngineClient

__all__ = ["read_services", "update_services"]


async def update_services(
    parser: ContainerParser, containers: Iterable[Container], client: EngineClient, *, again: bool = False
) -> bool:
    """Read the services if a container is a task of an unknown one, and pass them to the parser.

    Args:
        parser: the parser of the engine's containers.
        containers: parsed containers.
        client: the engine.
        again: read them even if all are known, but only if there have been tasks.

    Returns:
        Whether the services have changed, so that tasks must be parsed again.

    Raises:
        EngineError: the connection failed or the response is invalid.

    """
    known = parser.services
    if known is None:
        wanted = any(map(is_task, containers))
    else:
        tasks = () if known.error else filter(is_task, containers)
        wanted = again or any(task.actual_labels[SERVICE_ID] not in known.by_id for task in tasks)
    if not wanted:
        return False
    parser.services = await read_services(client)
    return parser.services != known


async def read_services(client: EngineClient) -> SwarmServices:
    """Return the services of the engine's swarm, or why it does not report them.

    Raises:
        EngineError: the connection failed or the response is invalid.

    """
    try:
        services = await client.services()
    except EngineRefused as error:
        return SwarmServices(error="this engine is not a swarm manager" if error.status == 503 else error.what)
    return SwarmServices({service.ID: service for service in services})
