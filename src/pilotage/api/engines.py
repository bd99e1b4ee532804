"""Serializes the engines for ``/v1/engines``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pilotage.core.secrets import clean

if TYPE_CHECKING:
    from pilotage.discovery.manager import DiscoveryManager

__all__ = ["engines_json"]


def engines_json(discovery: DiscoveryManager) -> list[dict[str, Any]]:
    """Return all engines as plain data, and whether their routes are up to date."""
    statuses = discovery.table.engines
    engines = []
    for snapshot in discovery.snapshots():
        name = snapshot.config.name or snapshot.config.url
        status = statuses.get(name)
        engines.append(
            {
                "name": clean(name),
                "url": clean(snapshot.config.url),
                "state": status.state if status else "pending",
                "since": status.since if status else 0.0,
                "error": clean(status.error) if status else "",
                "containers": len(snapshot.containers),
                "routes": sum(not route.excluded for built in snapshot.built for route in built.routes),
            }
        )
    return engines
