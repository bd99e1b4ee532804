"""What Docker Compose says about a container in its labels (LABELS II.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pilotage.labels.container_options import DEPENDS_ON, dependencies_from

if TYPE_CHECKING:
    from pilotage.containers.container import Container

__all__ = [
    "DEPENDS_ON",
    "ONEOFF",
    "PROJECT",
    "SERVICE",
    "dependencies",
    "docker_compose_project",
    "docker_compose_service",
]

PROJECT: Final = "com.docker.compose.project"
SERVICE: Final = "com.docker.compose.service"
ONEOFF: Final = "com.docker.compose.oneoff"


def docker_compose_project(container: Container) -> str:
    """Return the compose project the container belongs to, ``""`` if none."""
    return container.actual_labels.get(PROJECT, "")


def docker_compose_service(container: Container) -> str:
    """Return the compose service the container belongs to, ``""`` if none."""
    return container.actual_labels.get(SERVICE, "")


def dependencies(container: Container) -> tuple[str, ...]:
    """Return what the container depends on: ``proxy.depends_on``, else compose's label (decision 9).

    Entries keep their text, e.g. ``db:service_healthy:false``.
    """
    return dependencies_from(container.actual_labels)
