"""Turns one entry of an engine's container list into a :class:`Container`: names, networks, ports, health, options.

List entries, inspections and facts about the engine go in; immutable containers come out, each with its errors as
:class:`~pilotage.core.problems.Problem` values. This package opens no sockets, does not read the environment, and does
not know what a route is.
"""

from __future__ import annotations

from pilotage.containers.blacklist import blacklist_reason, is_blacklisted
from pilotage.containers.compose import (
    COMPOSE_DEPENDS_ON,
    COMPOSE_ONEOFF,
    COMPOSE_PROJECT,
    COMPOSE_SERVICE,
    dependencies,
    docker_compose_project,
    docker_compose_service,
)
from pilotage.containers.container import Container
from pilotage.containers.image import ContainerImage
from pilotage.containers.inspection import inspection_failed, needs_inspection, with_inspection, with_start
from pilotage.containers.networks import join_shared_network, shared_network_id
from pilotage.containers.parse import ContainerParser, from_docker
from pilotage.containers.ports import PortMapping, is_loopback
from pilotage.containers.swarm import SERVICE_NAME, SwarmServices, is_task, task_id

__all__ = [
    "COMPOSE_DEPENDS_ON",
    "COMPOSE_ONEOFF",
    "COMPOSE_PROJECT",
    "COMPOSE_SERVICE",
    "SERVICE_NAME",
    "Container",
    "ContainerImage",
    "ContainerParser",
    "PortMapping",
    "SwarmServices",
    "blacklist_reason",
    "dependencies",
    "docker_compose_project",
    "docker_compose_service",
    "from_docker",
    "inspection_failed",
    "is_blacklisted",
    "is_loopback",
    "is_task",
    "join_shared_network",
    "needs_inspection",
    "shared_network_id",
    "task_id",
    "with_inspection",
    "with_start",
]
