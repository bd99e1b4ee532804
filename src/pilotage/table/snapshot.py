"""Defines the snapshot of one engine: its containers at one moment, with their routes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.containers.container import Container
from pilotage.containers.networks import join_shared_network, shared_network_id
from pilotage.core.problems import Problem
from pilotage.engine.agents import AgentInfo
from pilotage.engine.config import DockerProviderConfig
from pilotage.policy import NO_POLICY
from pilotage.routes.build import RESERVED_PORTS, Built, RouteBuilder
from pilotage.routes.reach import nowhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pilotage.policy import Policy

__all__ = ["EngineSnapshot", "FoundAgent", "build_snapshot"]


class FoundAgent(msgspec.Struct, frozen=True):
    """An agent that has been found.

    Attributes:
        info: what the agent reports about itself.
        expires: the day on which pilotage's client certificate for this agent expires, ``YYYY-MM-DD``; ``""`` if
            unknown.

    """

    info: AgentInfo
    expires: str = ""


class EngineSnapshot(msgspec.Struct, frozen=True):
    """The containers and routes of one engine at one moment.

    Attributes:
        config: the engine.
        containers: the engine's containers, in the order of its list.
        built: routes and problems of each container, in the same order.
        problems: problems with the engine itself.
        agent: the agent that relays to the engine; ``None`` without an agent, or if the agent has not been found.

    """

    config: DockerProviderConfig
    containers: tuple[Container, ...] = ()
    built: tuple[Built, ...] = ()
    problems: tuple[Problem, ...] = ()
    agent: FoundAgent | None = None


def build_snapshot(
    config: DockerProviderConfig,
    containers: Iterable[Container],
    *,
    reserved_ports: frozenset[int] = RESERVED_PORTS,
    policy: Policy = NO_POLICY,
    is_local: Callable[[str], bool] = nowhere,
    problems: Iterable[Problem] = (),
) -> EngineSnapshot:
    """Build the routes of all containers of an engine.

    Args:
        config: the engine.
        containers: the engine's containers. A container that shares another container's network gets the other
            container's address and ports.
        reserved_ports: ports on this host that the proxy itself uses.
        policy: what containers may claim.
        is_local: whether an address belongs to this machine and is not loopback.
        problems: problems with the engine itself.

    """
    found = tuple(containers)
    if any(map(shared_network_id, found)):
        others = {container.container_name: container for container in found}
        others |= {container.container_id: container for container in found}
        found = tuple(join_shared_network(container, others) for container in found)
    builder = RouteBuilder(reserved_ports=reserved_ports, policy=policy, is_local=is_local)
    built = tuple(map(builder.build, found))
    return EngineSnapshot(config, found, built, tuple(problems))
