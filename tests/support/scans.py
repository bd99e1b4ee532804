"""Short forms for tests that scan an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage import DockerProviderConfig, scan_engine

if TYPE_CHECKING:
    from pilotage import EngineSnapshot, Pool, Route
    from tests.support.engines import Engine

__all__ = ["address", "routes", "scan"]


def routes(snapshot: EngineSnapshot) -> dict[str, Route]:
    """Return alias -> route."""
    return {route.alias: route for built in snapshot.built for route in built.routes}


def address(engine: Engine, name: str, network: str = "bridge") -> str:
    """Return the address of a container in a network, as the engine reports it."""
    found: str = engine.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"]
    return found


async def scan(engine: Engine, pool: Pool) -> EngineSnapshot:
    """Scan a real engine."""
    return await scan_engine(DockerProviderConfig(engine.host, name="here"), pool=pool)
