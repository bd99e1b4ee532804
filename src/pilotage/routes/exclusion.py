"""Decides whether a valid route is served, or why it is not. Pure.

Rules: LABELS part I and II.1.5.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from pilotage.containers.blacklist import is_blacklisted

if TYPE_CHECKING:
    from pilotage.containers.container import Container
    from pilotage.routes.target import Target

__all__ = ["ExclusionReason", "exclusion"]


class ExclusionReason(StrEnum):
    """Why a route is not served. If several reasons apply, the first in this order is given (LABELS part I).

    The table determines the last reason (decision 31). All other reasons are determined when the route is built.
    """

    ERROR = "Error"
    MANUAL = "Manual exclusion"
    ONEOFF = "Compose one-off"
    NOT_RUNNING = "Container not running"
    NO_PORT = "No port exposed in container"
    BLACKLISTED = "Blacklisted (backend service or database)"
    BUILDX = "Buildx"
    ANCHOR = "YAML anchor or reference"
    RENAMING = "Container renaming intermediate state"
    TAKEN = "Name belongs to another"


def exclusion(container: Container, alias: str, target: Target) -> ExclusionReason | None:
    """Return why a route without errors is not served; ``None`` if it is served.

    Args:
        container: the container behind the route.
        alias: the route's alias, lower-cased.
        target: from :func:`pilotage.routes.target.resolve_target`.

    """
    if container.is_excluded:
        return ExclusionReason.MANUAL
    if container.is_oneoff:
        return ExclusionReason.ONEOFF
    if not container.running and not container.idles:
        return ExclusionReason.NOT_RUNNING
    if not target.port.proxy and target.scheme != "fileserver" and (container.running or not container.idles):
        return ExclusionReason.NO_PORT
    if not container.is_explicit and is_blacklisted(container):
        return ExclusionReason.BLACKLISTED
    if container.container_name.startswith("buildx_"):
        return ExclusionReason.BUILDX
    if alias.startswith("x-"):
        return ExclusionReason.ANCHOR
    return ExclusionReason.RENAMING if alias.endswith("-old") else None
