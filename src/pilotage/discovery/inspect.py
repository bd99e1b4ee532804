"""Inspects the containers whose list entry leaves out something that their routes need."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.containers.inspection import inspection_failed, needs_inspection, with_inspection, with_start
from pilotage.containers.networks import shared_network_id
from pilotage.core.errors import EngineError, EngineRefused
from pilotage.core.problems import Problem
from pilotage.engine.pool import new_client

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pilotage.containers.container import Container
    from pilotage.engine.client import EngineClient
    from pilotage.engine.pool import Pool

__all__ = ["inspect_all", "update_ports"]

_CONCURRENCY: Final = 8  # inspections in flight per engine


async def inspect_all(
    containers: Iterable[Container], client: EngineClient, *, network_owners: Collection[str] = ()
) -> list[Container]:
    """Return all given containers. Those whose list entry is incomplete are inspected and completed.

    If the engine refuses to inspect a container, that container gets a problem.

    Args:
        containers: from the engine's list.
        client: the engine.
        network_owners: IDs or names of containers whose network other containers use. Both the owners and the users of
            such a network are inspected to learn when they started.

    Raises:
        EngineError: the connection failed or the response is invalid.

    """
    podman = client.kind == "podman"
    found = list(containers)
    owners = {owner for container in found if (owner := shared_network_id(container))}.union(network_owners)
    incomplete = [
        index
        for index, container in enumerate(found)
        if needs_inspection(container, podman=podman) or (owners and _shares_network(container, owners))
    ]
    if not incomplete:
        return found
    slots = asyncio.Semaphore(_CONCURRENCY)
    failed: list[EngineError] = []

    async def inspect_at(index: int) -> None:
        async with slots:
            if failed:
                return
            try:
                found[index] = await _inspect(found[index], client, podman=podman)
            except EngineError as error:  # raised below; a task group would wrap it
                failed.append(error)

    async with asyncio.TaskGroup() as group:
        for index in incomplete:
            group.create_task(inspect_at(index))
    if failed:
        raise failed[0]
    return found


def _shares_network(container: Container, owners: Collection[str]) -> bool:
    """Return whether a running container uses another container's network, or is one of the given owners."""
    if not container.running or not container.container_id:
        return False
    names = (container.container_id, container.container_name)
    return bool(shared_network_id(container)) or any(name in owners for name in names if name)


async def _inspect(container: Container, client: EngineClient, *, podman: bool) -> Container:
    incomplete = needs_inspection(container, podman=podman)
    try:
        answer = await client.inspect(container.container_id)
    except EngineRefused as error:
        if not incomplete:  # only its start time is missing
            return container
        if container.is_host_network_mode:
            return inspection_failed(container, error.what)
        if error.status == 404:  # removed since the list; its event is on the way
            return container
        problem = Problem(
            message=(
                "some of its ports may be missing: the engine's list is incomplete, "
                f"and inspecting the container failed ({error.what})"
            ),
            hint="allow GET /containers/{id}/json, or set the port with a label",
            severity="warning",
            provider=container.provider,
            container=container.container_name,
        )
        return msgspec.structs.replace(container, problems=(*container.problems, problem))
    return with_inspection(container, answer) if incomplete else with_start(container, answer)


async def update_ports(container: Container, *, pool: Pool | None = None) -> Container:
    """Return the container with the ports that only an inspection reveals.

    These are the exposed ports of a container on the host network, and all ports of a Podman container.

    Raises:
        EngineError: the engine cannot be reached or refused the inspection.

    """
    async with await new_client(container.docker_cfg, pool=pool) as client:
        return with_inspection(container, await client.inspect(container.container_id))
