"""Lists engines once and builds their routes, without watching them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from pilotage.containers.parse import ContainerParser
from pilotage.core.errors import EngineError
from pilotage.core.gc import gc_paused
from pilotage.discovery.host_routes import routes_to
from pilotage.discovery.inspect import inspect_all
from pilotage.discovery.swarm import update_services
from pilotage.engine.contexts import resolved
from pilotage.engine.pool import new_client
from pilotage.routes.build import RESERVED_PORTS
from pilotage.table.snapshot import EngineSnapshot, build_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.engine.config import DockerProviderConfig
    from pilotage.engine.pool import Pool

__all__ = ["ScanResult", "scan_all", "scan_engine"]


class ScanResult(msgspec.Struct, frozen=True):
    """The result of scanning several engines.

    Attributes:
        snapshots: one for each engine that answered, in the order of the arguments.
        errors: name of each other engine -> its error.

    """

    snapshots: tuple[EngineSnapshot, ...]
    errors: Mapping[str, EngineError]

    @property
    def rosters(self) -> tuple[EngineSnapshot, ...]:
        """Deprecated name of :attr:`snapshots`."""
        return self.snapshots


async def scan_all(
    configs: Sequence[DockerProviderConfig],
    *,
    pool: Pool | None = None,
    agents: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    reserved_ports: frozenset[int] = RESERVED_PORTS,
) -> ScanResult:
    """Scan several engines concurrently. An engine that fails does not affect the others.

    Args:
        configs: the engines.
        pool: source of connections; the running loop's default pool if omitted.
        agents: address (``host:port``) -> name of every known agent.
        env: environment variables, the process's own by default. ``DOCKER_HOST`` makes an engine local
            (LABELS II.3.5).
        reserved_ports: ports of this host that the proxy itself uses.

    Raises:
        ConfigError: an address is invalid. No engine was contacted.

    """
    configs = [resolved(config, env) for config in configs]
    errors: dict[str, EngineError] = {}

    async def scan(config: DockerProviderConfig) -> EngineSnapshot | None:
        try:
            return await scan_engine(config, pool=pool, agents=agents, env=env, reserved_ports=reserved_ports)
        except EngineError as error:
            errors[config.name or config.url] = error
            return None

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(scan(config)) for config in configs]
    snapshots = [task.result() for task in tasks]
    names = [config.name or config.url for config in configs]
    return ScanResult(
        tuple(snapshot for snapshot in snapshots if snapshot is not None),
        {name: errors[name] for name in names if name in errors},
    )


async def scan_engine(
    config: DockerProviderConfig,
    *,
    pool: Pool | None = None,
    agents: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    reserved_ports: frozenset[int] = RESERVED_PORTS,
) -> EngineSnapshot:
    """Scan one engine; see :func:`scan_all` for the arguments.

    Raises:
        ConfigError: its address is invalid.
        EngineError: it cannot be reached, or refused to list its containers.

    """
    config = resolved(config, env)
    parser = ContainerParser(config, agents=agents, env=os.environ if env is None else env, routes_to=routes_to)
    async with await new_client(config, pool=pool) as client:
        elements = await client.list_containers()
        with gc_paused(len(elements)):
            containers = [parser.decode(element) for element in elements]
        if await update_services(parser, containers, client):
            containers = [parser.decode(element) for element in elements]
        containers = await inspect_all(containers, client)
        with gc_paused(len(containers)):
            return build_snapshot(config, containers, reserved_ports=reserved_ports)
