"""Recognizes databases and other backend services, which are served only if they have pilotage labels. Pure.

The lists are GoDoxy's (LABELS II.4.4); decision 14 says how containers are compared with the lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pilotage.containers.networks import is_infra
from pilotage.containers.ports import is_valid

if TYPE_CHECKING:
    from pilotage.containers.container import Container
    from pilotage.containers.image import ContainerImage

__all__ = ["blacklist_reason", "is_blacklisted"]

_NAMES: Final = frozenset(
    "postgres mysql mariadb redis memcached mongo rabbitmq couchdb neo4j telegraf elasticsearch meilisearch kibana "
    "solr watchtower".split()
)
_AUTHORS: Final = frozenset("selenium browserless zenika zabbix moby docker".split())
_IMAGES: Final = frozenset({"zenika-hub/alpine-chrome", "getwud/wud"})
_MOUNTS: Final = frozenset(
    {
        "/var/lib/postgresql/data",
        "/var/lib/mysql",
        "/var/lib/mongodb",
        "/var/lib/mariadb",
        "/var/lib/memcached",
        "/var/lib/rabbitmq",
    }
)
_PORTS: Final = frozenset({5432, 3306, 6379, 11211, 27017})


def is_blacklisted(container: Container) -> bool:
    """Return whether the container looks like a database or a backend service, by image, mounts or ports.

    Such a container is still served if it has pilotage labels (LABELS II.1.5).
    """
    return bool(blacklist_reason(container))


def blacklist_reason(container: Container) -> str:
    """Return why the container looks like a backend service, e.g. ``"port 5432"``; ``""`` if it does not."""
    if is_infra(container):
        return "role as the infra container of a pod"
    if _is_backend_image(container.image):
        return f"image {container.image}"
    for mount in container.mounts:
        if mount.Destination in _MOUNTS:
            return f"mount {mount.Destination}"
    listed = [entry.PrivatePort for entry in container.ports if entry.PrivatePort in _PORTS and is_valid(entry)]
    return f"port {min(listed)}" if listed else ""


def _is_backend_image(image: ContainerImage) -> bool:
    if image.name in _NAMES:
        return True
    path = image.path
    return path in _AUTHORS or f"{path}/{image.name}" in _IMAGES
