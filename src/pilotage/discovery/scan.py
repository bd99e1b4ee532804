"""One look at engines: list, inspect what the list cannot know, build the routes.

The live table does the same for single containers as they change; see :mod:`pilotage.discovery.watcher`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.containers.parse import ContainerReader, needs_inspection, with_inspection
from pilotage.core.errors import EngineError, EngineRefused
from pilotage.core.gc import gc_paused
from pilotage.core.problems import Problem
from pilotage.engine.contexts import resolved
from pilotage.engine.pool import new_client
from pilotage.routes.build import RESERVED_PORTS
from pilotage.table.snapshot import Roster, assemble, inspection_failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pilotage.containers.container import Container
    from pilotage.engine.address import DockerProviderConfig
    from pilotage.engine.client import EngineClient
    from pilotage.engine.pool import Pool

__all__ = ["Survey", "first_error", "inspected", "survey_all", "survey_engine", "update_ports"]

_AT_ONCE: Final = 8  # inspections under way at one engine


class Survey(msgspec.Struct, frozen=True):
    """What engines answered.

    Attributes:
        rosters: one for each engine that answered, in the order of the configuration.
        errors: the others: name of the engine -> what failed.

    """

    rosters: tuple[Roster, ...]
    errors: Mapping[str, EngineError]


async def survey_all(
    configs: Sequence[DockerProviderConfig],
    *,
    pool: Pool | None = None,
    agents: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    reserved_ports: frozenset[int] = RESERVED_PORTS,
) -> Survey:
    """Look at every engine, all at once; one that fails does not hold up the others.

    Args:
        configs: the engines.
        pool: whose connections are used; the running loop's own by default.
        agents: address (``host:port``) -> name of every known agent.
        env: environment variables, the process's own by default; ``DOCKER_HOST`` makes an engine local (LABELS II.3.5).
        reserved_ports: ports of this host that belong to the proxy.

    Raises:
        ConfigError: an address is none; no engine was asked.

    """
    configs = [resolved(config, env) for config in configs]
    errors: dict[str, EngineError] = {}

    async def one(config: DockerProviderConfig) -> Roster | None:
        try:
            return await survey_engine(config, pool=pool, agents=agents, env=env, reserved_ports=reserved_ports)
        except EngineError as error:
            errors[config.name or config.url] = error
            return None

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(config)) for config in configs]
    rosters = [task.result() for task in tasks]
    order = [config.name or config.url for config in configs]
    return Survey(
        tuple(roster for roster in rosters if roster is not None),
        {name: errors[name] for name in order if name in errors},
    )


async def survey_engine(
    config: DockerProviderConfig,
    *,
    pool: Pool | None = None,
    agents: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    reserved_ports: frozenset[int] = RESERVED_PORTS,
) -> Roster:
    """Look at one engine.

    Raises:
        ConfigError: its address is none.
        EngineError: it could not be reached, or refused to list its containers.

    """
    config = resolved(config, env)
    reader = ContainerReader(config, agents=agents, env=os.environ if env is None else env)
    async with await new_client(config, pool=pool) as client:
        raws = await client.list_containers()
        with gc_paused(len(raws)):
            containers = [reader.decode(raw) for raw in raws]
        containers = await inspected(containers, client)
        with gc_paused(len(containers)):
            return assemble(config, containers, reserved_ports=reserved_ports)


async def inspected(containers: Iterable[Container], client: EngineClient) -> list[Container]:
    """Fill in what the engine's list could not know, by inspecting the containers that need it and no others.

    Raises:
        EngineError: the engine is gone, or answers nonsense; a mere refusal becomes a problem of the container.

    """
    slots = asyncio.Semaphore(_AT_ONCE)
    podman = client.kind == "podman"
    found = list(containers)
    failed: list[EngineError] = []

    async def one(index: int) -> None:
        async with slots:
            if failed:
                return
            try:
                found[index] = await _inspected(found[index], client)
            except EngineError as error:  # raised below as it is: a task group would wrap it
                failed.append(error)

    wanted = [index for index, container in enumerate(found) if needs_inspection(container, podman=podman)]
    if wanted:
        async with asyncio.TaskGroup() as group:
            for index in wanted:
                group.create_task(one(index))
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


async def _inspected(container: Container, client: EngineClient) -> Container:
    """Inspect one container; a refusal costs only what the list did not know."""
    try:
        answer = await client.inspect(container.container_id)
    except EngineRefused as error:
        if container.is_host_network_mode:
            return inspection_failed(container, error.what)
        if error.status == 404:  # gone since it was listed; its event is on the way
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
    """Return the container with the ports that only an inspection tells.

    For a container on the host's network: the ports its image exposes. For one of Podman: all its ports.

    Raises:
        EngineError: the engine could not be reached, or refused.

    """
    async with await new_client(container.docker_cfg, pool=pool) as client:
        return with_inspection(container, await client.inspect(container.container_id))
