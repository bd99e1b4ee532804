"""Short forms for tests of the live table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pilotage import DockerProviderConfig, Timing

if TYPE_CHECKING:
    from pilotage import DiscoveryManager
    from pilotage.testing import FakeEngine

__all__ = ["COMPOSE", "NOWHERE", "QUICK", "config", "endpoints"]

QUICK: Final = Timing(first_pause=0.02, longest_pause=0.05, pause_after_session=0.02)
NOWHERE: Final = DockerProviderConfig("unix:///nonexistent/engine.sock", name="nowhere")
COMPOSE: Final = {"com.docker.compose.project": "shop", "com.docker.compose.service": "api", "proxy.aliases": "api"}


def config(engine: FakeEngine, name: str = "local") -> DockerProviderConfig:
    """Return the configuration of a fake engine."""
    return DockerProviderConfig(engine.url, name=name)


def endpoints(discovery: DiscoveryManager, alias: str) -> dict[str, str]:
    """Return container -> state for the endpoints of a route."""
    return {e.container: e.state for e in discovery.table.routes[alias].endpoints}
