"""Serializes the engines for ``/v1/engines``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from pilotage.core.secrets import clean

if TYPE_CHECKING:
    from pilotage.discovery.manager import DiscoveryManager

__all__ = ["EngineJson", "describe_engines"]


class EngineJson(msgspec.Struct, frozen=True, kw_only=True):
    """An engine, and whether its routes are up to date.

    Attributes:
        name, url: the engine's name and address.
        state: `pending` until its containers have been listed once, then `live`, or `stale` while it is unreachable.
        since: Unix time in seconds when this state began.
        error: why the engine is unreachable.
        containers, routes: number of the engine's containers, and of its routes that are not excluded.

    """

    name: str
    url: str
    state: Literal["pending", "live", "stale"]
    since: float
    error: str
    containers: int
    routes: int


def describe_engines(discovery: DiscoveryManager) -> list[EngineJson]:
    """Return all engines, and whether their routes are up to date."""
    statuses = discovery.table.engines
    engines = []
    for snapshot in discovery.snapshots():
        name = snapshot.config.name or snapshot.config.url
        status = statuses.get(name)
        engine = EngineJson(
            name=clean(name),
            url=clean(snapshot.config.url),
            state=status.state if status else "pending",
            since=status.since if status else 0.0,
            error=clean(status.error) if status else "",
            containers=len(snapshot.containers),
            routes=sum(not route.excluded for built in snapshot.built for route in built.routes),
        )
        engines.append(engine)
    return engines
