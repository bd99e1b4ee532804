"""The containers of one engine and what came of each: where containers need one another to be understood. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.containers import with_network_of
from pilotage.containers.container import Container
from pilotage.core.problems import Problem
from pilotage.engine.address import DockerProviderConfig
from pilotage.routes.build import RESERVED_PORTS, Built, build_routes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["EngineSnapshot", "build_snapshot", "inspection_failed", "joined", "shared_network_id"]

_SHARED: Final = "container:"


class EngineSnapshot(msgspec.Struct, frozen=True):
    """One engine's containers and their routes, at one moment.

    Attributes:
        config: the engine.
        containers: in the engine's order.
        built: for each container what came of it, in the same order.
        problems: what is wrong with the engine itself.

    """

    config: DockerProviderConfig
    containers: tuple[Container, ...] = ()
    built: tuple[Built, ...] = ()
    problems: tuple[Problem, ...] = ()


def shared_network_id(container: Container) -> str:
    """Return the id of the container whose network this one shares, ``""`` if it has its own (decision 21)."""
    return container.network_mode.removeprefix(_SHARED) if container.network_mode.startswith(_SHARED) else ""


def joined(container: Container, others: Mapping[str, Container]) -> Container:
    """Return a container with the hostnames and ports of the one whose network it shares, if that is known.

    Args:
        container: any container.
        others: the engine's containers by id and by name.

    """
    peer_id = shared_network_id(container)
    if not peer_id:
        return container
    peer = others.get(peer_id)
    return container if peer is None or peer is container else with_network_of(container, peer)


def build_snapshot(
    config: DockerProviderConfig,
    containers: Iterable[Container],
    *,
    reserved_ports: frozenset[int] = RESERVED_PORTS,
    problems: Iterable[Problem] = (),
) -> EngineSnapshot:
    """Build the routes of all containers of one engine."""
    found = tuple(containers)
    if any(container.network_mode.startswith(_SHARED) for container in found):
        others = {container.container_name: container for container in found}
        others |= {container.container_id: container for container in found}
        found = tuple(joined(container, others) for container in found)
    built = tuple(build_routes(container, reserved_ports=reserved_ports) for container in found)
    return EngineSnapshot(config, found, built, tuple(problems))


def inspection_failed(container: Container, why: str) -> Container:
    """Return a container on the host's network whose ports cannot be known: with the error that says so."""
    problem = Problem(
        message=f"its ports are not known: the container uses the host's network, and inspecting it failed ({why})",
        hint="allow GET /containers/{id}/json, or exclude it with proxy.exclude",
        provider=container.provider,
        container=container.container_name,
    )
    return msgspec.structs.replace(container, errors=(*container.errors, problem))
