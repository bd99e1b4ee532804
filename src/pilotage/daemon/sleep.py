"""Connects the sleep of containers with the daemon's table, engines and gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.errors import EngineUnreachable
from pilotage.engine.pool import new_client
from pilotage.sleep.sleeper import Sleeper

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.containers.container import Container
    from pilotage.discovery.manager import DiscoveryManager
    from pilotage.engine.shared_client import ClientRequest
    from pilotage.routes.route import Route
    from pilotage.table.table import Table
    from pilotage.xds.server import AdsServer

__all__ = ["DiscoverySource", "start_sleeper"]


class DiscoverySource:
    """What discovery knows, as the sleeper needs it.

    Args:
        discovery: engines and table.

    """

    def __init__(self, discovery: DiscoveryManager) -> None:
        self._discovery = discovery

    @property
    def table(self) -> Table:
        """The current table."""
        return self._discovery.table

    def container(self, engine: str, container_id: str) -> Container | None:
        """Return a container of an engine; ``None`` if it does not exist."""
        state = self._discovery.engine_state(engine)
        return state.containers.get(container_id) if state is not None else None

    def containers_of(self, engine: str) -> Iterable[Container]:
        """Return all containers of an engine in any order."""
        state = self._discovery.engine_state(engine)
        return tuple(state.containers.values()) if state is not None else ()

    def routes_of(self, engine: str, container_id: str) -> Iterable[Route]:
        """Return the routes of a container, including excluded ones."""
        state = self._discovery.engine_state(engine)
        built = state.built.get(container_id) if state is not None else None
        return built.routes if built is not None else ()

    def connect(self, engine: str) -> ClientRequest:
        """Return a client of an engine, to be used with ``async with``. It shares the connection with others.

        Raises:
            EngineError: the engine cannot be reached, or is no longer being watched.

        """
        config = self._discovery.config_of(engine)
        if config is None:
            raise EngineUnreachable(engine, "it is no longer being watched")
        return new_client(config, pool=self._discovery.pool)

    def may_idle(self, engine: str) -> bool:
        """Return whether containers of an engine may be started and stopped."""
        config = self._discovery.config_of(engine)
        return config is not None and config.may_idle


def start_sleeper(discovery: DiscoveryManager, ads: AdsServer) -> Sleeper:
    """Return a sleeper that the gateway asks to wake containers."""
    source = DiscoverySource(discovery)
    sleeper = Sleeper(source, ads.gates, source.connect, ads.loads.watch, source.may_idle)
    ads.gates.on_want = sleeper.want
    ads.loads.listener = sleeper
    return sleeper
