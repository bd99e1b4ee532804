"""Inspects the containers whose list element leaves out something that their routes need."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.containers.inspection import inspection_failed, needs_inspection, with_inspection
from pilotage.core.errors import EngineError, EngineRefused
from pilotage.core.problems import Problem
from pilotage.engine.pool import new_client

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.containers.container import Container
    from pilotage.engine.client import EngineClient
    from pilotage.engine.pool import Pool

__all__ = ["first_error", "inspect_all", "update_ports"]

_CONCURRENCY: Final = 8  # inspections in flight per engine


async def inspect_all(containers: Iterable[Container], client: EngineClient) -> list[Container]:
    """Complete the containers that need it by inspecting them; the others are returned as they are.

    If the engine refuses one inspection, that container gets a problem.

    Raises:
        EngineError: the connection failed or the answer is invalid.

    """
    slots = asyncio.Semaphore(_CONCURRENCY)
    podman = client.kind == "podman"
    found = list(containers)
    failed: list[EngineError] = []

    async def inspect_at(index: int) -> None:
        async with slots:
            if failed:
                return
            try:
                found[index] = await _inspect(found[index], client)
            except EngineError as error:  # raised below; a task group would wrap it
                failed.append(error)

    incomplete = [index for index, container in enumerate(found) if needs_inspection(container, podman=podman)]
    if incomplete:
        async with asyncio.TaskGroup() as group:
            for index in incomplete:
                group.create_task(inspect_at(index))
    if failed:
        raise failed[0]
    return found


def first_error(group: BaseExceptionGroup[EngineError]) -> EngineError:
    """Return the first error of tasks that failed together; the others have the same cause."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, EngineError)  # noqa: S101  # by the group's type
    return error


async def _inspect(container: Container, client: EngineClient) -> Container:
    try:
        answer = await client.inspect(container.container_id)
    except EngineRefused as error:
        if container.is_host_network_mode:
            return inspection_failed(container, error.what)
        if error.status == 404:  # removed since the list; its event is on the way
            return container
        problem = Problem(
            message=f"its ports may be incomplete: the engine lists only some, and inspecting it failed ({error.what})",
            hint="allow GET /containers/{id}/json, or set the port with a label",
            severity="warning",
            provider=container.provider,
            container=container.container_name,
        )
        return msgspec.structs.replace(container, problems=(*container.problems, problem))
    return with_inspection(container, answer)


async def update_ports(container: Container, *, pool: Pool | None = None) -> Container:
    """Return the container with the ports that only an inspection reveals.

    These are the exposed ports of a container on the host network, and all ports of a Podman container.

    Raises:
        EngineError: the engine cannot be reached or refused the inspection.

    """
    async with await new_client(container.docker_cfg, pool=pool) as client:
        return with_inspection(container, await client.inspect(container.container_id))
