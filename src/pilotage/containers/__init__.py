"""2. From an engine's answer to a :class:`Container`. Pure: nothing here opens a socket or reads the environment."""

from __future__ import annotations

from pilotage.containers.backends import is_blacklisted
from pilotage.containers.compose import dependencies, docker_compose_project, docker_compose_service
from pilotage.containers.container import Container, Health
from pilotage.containers.image import ContainerImage
from pilotage.containers.parse import ContainerReader, from_docker, with_inspection, with_network_of
from pilotage.containers.ports import PortMapping
from pilotage.labels.container_options import IdleConfig

__all__ = [
    "Container",
    "ContainerImage",
    "ContainerReader",
    "Health",
    "IdleConfig",
    "PortMapping",
    "dependencies",
    "docker_compose_project",
    "docker_compose_service",
    "from_docker",
    "is_blacklisted",
    "with_inspection",
    "with_network_of",
]
