"""Lists engines once and builds their routes, without watching them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from pilotage.containers.parse import ContainerParser
from pilotage.core.errors import ConfigError, EngineError
from pilotage.core.gc import gc_paused
from pilotage.core.problems import Problem
from pilotage.discovery.found_agent import found_agent
from pilotage.discovery.host_addresses import HostAddresses
from pilotage.discovery.host_routes import routes_to
from pilotage.discovery.inspect import inspect_all
from pilotage.discovery.swarm import update_services
from pilotage.engine.agents import distinct_name
from pilotage.engine.contexts import resolved
from pilotage.engine.pool import new_client
from pilotage.policy import NO_POLICY
from pilotage.routes.build import RESERVED_PORTS
from pilotage.table.snapshot import EngineSnapshot, build_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.containers.container import Container
    from pilotage.engine.client import EngineClient
    from pilotage.engine.config import DockerProviderConfig
    from pilotage.engine.pool import Pool
    from pilotage.policy import Policy

__all__ = ["ScanResult", "scan_all", "scan_engine"]


class ScanResult(msgspec.Struct, frozen=True):
    """The result of scanning several engines.

    Attributes:
        snapshots: one for each engine that responded, in the order of the arguments.
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
    policy: Policy = NO_POLICY,
    taken: set[str] | None = None,
) -> ScanResult:
    """Scan several engines concurrently. An engine that fails does not affect the others.

    Args:
        configs: the engines; their names must differ. An engine without a name is named after its URL.
        pool: source of connections; the running loop's default pool if omitted.
        agents: address (``host:port``) -> name of every known agent.
        env: environment variables, the process's own by default. ``DOCKER_HOST`` makes an engine local
            (LABELS II.3.5).
        reserved_ports: ports on this host that the proxy itself uses.
        policy: what containers may claim.
        taken: names of other engines, which agents cannot take. Each name that an agent takes is added to this set.

    Raises:
        ConfigError: an address is invalid, or two engines have the same name. No engine was contacted.

    """
    configs = [_named(config, env) for config in configs]
    names = [config.name for config in configs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        hint = "give each engine its own name"
        raise ConfigError([Problem(message=f"two engines are called {name!r}", hint=hint) for name in repeated])
    errors: dict[str, EngineError] = {}
    taken = set() if taken is None else taken
    taken.update(name for name, config in zip(names, configs, strict=True) if not config.takes_agent_name)

    async def scan(config: DockerProviderConfig) -> EngineSnapshot | None:
        try:
            return await scan_engine(
                config, pool=pool, agents=agents, env=env, reserved_ports=reserved_ports, policy=policy, taken=taken
            )
        except EngineError as error:
            errors[config.name] = error
            return None

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(scan(config)) for config in configs]
    snapshots = [task.result() for task in tasks]
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
    policy: Policy = NO_POLICY,
    taken: set[str] | None = None,
) -> EngineSnapshot:
    """Scan one engine; see :func:`scan_all` for the arguments.

    Raises:
        ConfigError: its address is invalid.
        EngineError: the engine cannot be reached, or refused to list its containers.

    """
    config, taken = _named(config, env), set() if taken is None else taken
    parser = ContainerParser(config, agents=agents, env=os.environ if env is None else env, routes_to=routes_to)
    async with await new_client(config, pool=pool) as client:
        parser.set_rootless(client.is_rootless)
        if client.agent is not None and client.agent.name and config.takes_agent_name:
            name = distinct_name(client.agent.name, config, taken)
            taken.add(name)
            config = msgspec.structs.replace(config, name=name)
            parser.take_name(name, client.agent.name)
        containers = await _list(client, parser)
        if await update_services(parser, containers, client):
            containers = await _list(client, parser)
        containers = await inspect_all(containers, client)
        with gc_paused(len(containers)):
            snapshot = build_snapshot(
                parser.config, containers, reserved_ports=reserved_ports, policy=policy, is_local=HostAddresses().has
            )
        return msgspec.structs.replace(snapshot, agent=found_agent(client.agent, config))


async def _list(client: EngineClient, parser: ContainerParser) -> list[Container]:
    """List all containers, decoding them while the list arrives."""
    found: list[Container] = []

    def decode(elements: list[msgspec.Raw]) -> None:
        with gc_paused(len(elements)):
            found.extend(map(parser.decode, elements))

    await client.read_containers(decode)
    return found


def _named(config: DockerProviderConfig, env: Mapping[str, str] | None) -> DockerProviderConfig:
    """Resolve an engine's address. As in the live table, an engine without a name gets its URL as its name."""
    config = resolved(config, env)
    return config if config.name else msgspec.structs.replace(config, name=config.url)
