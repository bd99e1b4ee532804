"""Reads the result of the engine's own health check. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from pilotage.engine.types import Summary

__all__ = ["Health", "known_health", "listed_health"]

Health = Literal["", "starting", "healthy", "unhealthy"]


def listed_health(summary: Summary) -> Health:
    """Return the health in a list entry: from the field added in API 1.52, or else from the end of ``Status``."""
    if summary.Health is not None and summary.Health.Status:
        return known_health(summary.Health.Status)
    status = summary.Status
    if not status.endswith(")"):
        return ""
    if status.endswith("(healthy)"):
        return "healthy"
    if status.endswith("(unhealthy)"):
        return "unhealthy"
    return "starting" if status.endswith("(health: starting)") else ""


def known_health(status: str) -> Health:
    """Return the status if it is ``starting``, ``healthy`` or ``unhealthy``, or else ``""``."""
    return cast("Health", status) if status in ("starting", "healthy", "unhealthy") else ""
