"""Reads the labels that Docker Compose sets (LABELS II.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pilotage.containers.container import Container

__all__ = [
    "COMPOSE_DEPENDS_ON",
    "COMPOSE_ONEOFF",
    "COMPOSE_PROJECT",
    "COMPOSE_SERVICE",
    "dependencies",
    "docker_compose_project",
    "docker_compose_service",
]

COMPOSE_PROJECT: Final = "com.docker.compose.project"
COMPOSE_SERVICE: Final = "com.docker.compose.service"
COMPOSE_DEPENDS_ON: Final = "com.docker.compose.depends_on"
COMPOSE_ONEOFF: Final = "com.docker.compose.oneoff"


def docker_compose_project(container: Container) -> str:
    """Return the container's Compose project; ``""`` if it has none."""
    return container.compose_project


def docker_compose_service(container: Container) -> str:
    """Return the container's Compose service; ``""`` if it has none."""
    return container.compose_service


def dependencies(container: Container) -> tuple[str, ...]:
    """Return the containers that a container needs: from ``proxy.depends_on``, or else Compose's label (decision 9).

    Entries are returned as written, e.g. ``db:service_healthy:false``.
    """
    return container.depends_on
