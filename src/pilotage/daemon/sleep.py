"""Connects the sleeper to the daemon's table, engines and gateway."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.addresses import is_address
from pilotage.core.errors import EngineError, EngineUnreachable, PilotageError
from pilotage.daemon.agent_health import health_query
from pilotage.engine.pool import new_client
from pilotage.sleep.datagrams import Datagrams
from pilotage.sleep.loading_page import WakeStatus, page_headers, render_page
from pilotage.sleep.page_server import PageServer
from pilotage.sleep.readiness import Readiness, check_readiness
from pilotage.sleep.sleeper import Sleeper
from pilotage.sleep.state import Phase
from pilotage.sleep.stranded import StrandedRequests
from pilotage.xds.sleeping_routes import EVENTS_PATH

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AsyncExitStack

    from pilotage.containers.container import Container
    from pilotage.discovery.manager import DiscoveryManager
    from pilotage.discovery.watcher import EngineWatcher
    from pilotage.engine.shared_client import ClientRequest
    from pilotage.gateway.tunnels import Tunnels
    from pilotage.routes.route import Endpoint, Route
    from pilotage.sleep.datagrams import Target
    from pilotage.table.table import Table
    from pilotage.table.wakefulness import Wakefulness
    from pilotage.xds.load_reports import Report
    from pilotage.xds.server import AdsServer
    from pilotage.xds.sleep_gates import Page

__all__ = ["DiscoverySource", "Pages", "start_sleeper"]


_REPORT_INTERVAL: Final = 1.0
"""Seconds between two load reports of an Envoy, which decide when containers may be stopped."""


class DiscoverySource:
    """Provides the sleeper with the routes and containers from discovery.

    Args:
        discovery: engines and table.

    """

    def __init__(self, discovery: DiscoveryManager) -> None:
        self._discovery = discovery

    @property
    def table(self) -> Table:
        """The current table."""
        return self._discovery.table

    def _watcher(self, engine: str) -> EngineWatcher | None:
        try:
            return self._discovery.watcher(engine)
        except PilotageError:  # it is no longer being watched
            return None

    def container(self, engine: str, container_id: str) -> Container | None:
        """Return a container of an engine; ``None`` if the container or the engine is unknown."""
        watcher = self._watcher(engine)
        found = watcher.state.containers.get(container_id) if watcher is not None else None
        return found if found is None else self._with_file(engine, found)

    def _with_file(self, engine: str, container: Container) -> Container:
        """Add the idle options to a container that a route file lets sleep. Return other containers unchanged."""
        config = self._discovery.file_routes.idle.get((engine, container.container_id))
        if config is None:
            return container
        needs = config.depends_on or container.depends_on
        return msgspec.structs.replace(container, idlewatcher_config=config, depends_on=needs)

    def containers_of(self, engine: str) -> Iterable[Container]:
        """Return all containers of an engine in any order."""
        watcher = self._watcher(engine)
        if watcher is None:
            return ()
        found = watcher.state.containers.values()
        return tuple(self._with_file(engine, it) for it in found) if self._discovery.file_routes.idle else tuple(found)

    def routes_of(self, engine: str, container_id: str) -> Iterable[Route]:
        """Return the routes of a container, including excluded ones."""
        watcher = self._watcher(engine)
        built = watcher.state.built.get(container_id) if watcher is not None else None
        return built.routes if built is not None else ()

    def connect(self, engine: str) -> ClientRequest:
        """Return a client of an engine for ``async with``. It shares a connection with the engine's other clients.

        Raises:
            EngineError: the engine cannot be reached, or is no longer being watched.

        """
        watcher = self._watcher(engine)
        if watcher is None:
            raise EngineUnreachable(engine, "it is no longer being watched")
        return new_client(watcher.config, pool=self._discovery.pool)

    def may_idle(self, engine: str) -> bool:
        """Return whether containers of an engine may be started and stopped."""
        watcher = self._watcher(engine)
        return watcher is not None and watcher.config.may_idle

    def show(self, alias: str, wakefulness: Wakefulness | None) -> None:
        """Record in the table whether the containers of an alias are awake; ``None`` if they can no longer sleep."""
        self._discovery.store.set_wakefulness(alias, wakefulness)
        self._discovery.publish()


class Pages:
    """Makes the pages that browsers show while containers wake.

    Args:
        sleeper: knows the containers.
        source: knows the routes.

    """

    def __init__(self, sleeper: Sleeper, source: DiscoverySource) -> None:
        self._sleeper = sleeper
        self._source = source

    def status(self, alias: str) -> WakeStatus | None:
        """Return what the page of a route or pool shows; ``None`` if its containers do not sleep."""
        unit, routes = self._sleeper.unit(alias), self._source.table.routes
        route = routes.get(min(unit.aliases) if unit.pool else alias) if unit is not None else None
        if unit is None or route is None:
            return None
        state, now = unit.state, time.monotonic()
        return WakeStatus(
            name=route.settings.homepage.name or unit.pool or alias,
            icon=route.settings.homepage.icon,
            phase=state.phase,
            step=unit.step,
            done=unit.done,
            waited=now - state.since if state.phase is Phase.WAKING else 0.0,
            failure=state.failure,
            retry_in=None if state.retry_at is None else max(0.0, state.retry_at - now),
            typical=state.last_wake,
            container=unit.name,
        )

    def page(self, alias: str, path: str) -> Page | None:
        """Return a route's page and its headers; ``None`` if the route's containers are awake or never sleep."""
        status = self.status(alias)
        if status is None or status.phase is Phase.READY:
            return None
        headers = {**page_headers(status), "Content-Type": "text/html; charset=utf-8"}
        return render_page(status, events_path=EVENTS_PATH, target=path), headers


async def _check(ads: AdsServer, source: DiscoverySource, route: Route, endpoint: Endpoint) -> Readiness:
    """Return whether an endpoint is ready for requests.

    The agent checks an endpoint that is behind an agent. All others are contacted only at addresses that the gateway
    has checked, except for endpoints of routes from files, which may lead anywhere.
    """
    backend = ads.snapshot.backend(f"pool/{route.pool}" if route.pool else f"route/{route.alias}")
    members = backend.members if backend is not None else ()
    found = next((it for it in members if it.endpoint.container_id == endpoint.container_id), None)
    if found is not None and found.agent is not None:
        if route.scheme == "udp":
            return Readiness.READY  # a udp server need not reply to anything
        checks = "healthcheck" in route.labelled and not route.settings.healthcheck.disable
        query = health_query(route, found, scheme="" if checks else "tcp")
        try:
            async with source.connect(route.provider) as client:
                health = await client.agent_health(query, timeout=route.settings.healthcheck.timeout)
        except EngineError:
            return Readiness.STARTING
        return Readiness.READY if health.healthy else Readiness.STARTING
    if route.sleeps_with:
        return await check_readiness(route, endpoint)  # a route from a file may lead anywhere
    if found is None or not is_address(found.host):
        return Readiness.REFUSED
    return await check_readiness(route, msgspec.structs.replace(found.endpoint, host=found.host, addresses=()))


def _targets(ads: AdsServer, alias: str) -> list[Target]:
    """Return a udp route's targets: addresses that the gateway has checked, and tunnels to endpoints behind agents."""
    backend = ads.snapshot.backend(f"route/{alias}")
    found = [(it, backend.tunnel(it)) for it in backend.members] if backend is not None else []
    return [tunnel or (it.host, it.endpoint.port) for it, tunnel in found if tunnel or is_address(it.host)]


async def start_sleeper(
    discovery: DiscoveryManager, ads: AdsServer, socket: str, stack: AsyncExitStack, tunnels: Tunnels | None
) -> Sleeper:
    """Return a sleeper that wakes containers when the gateway needs them. Serve the events of loading pages.

    Args:
        discovery: engines and table.
        ads: the gateway.
        socket: path of the unix socket for events.
        stack: closes the events server.
        tunnels: the relay of tunnels to agents; ``None`` if Envoy cannot reach this process on loopback, so that
            datagrams cannot wait here.

    Raises:
        OSError: the socket cannot be created.

    """
    source = DiscoverySource(discovery)
    datagrams = Datagrams(is_enabled=tunnels is not None)
    if tunnels is not None:
        datagrams.connect = tunnels.connect
    sleeper = Sleeper(
        source,
        ads.gates,
        source.connect,
        reports=lambda: ads.loads.reports,
        envoys=lambda: len(ads.nodes),
        probe=lambda route, endpoint: _check(ads, source, route, endpoint),
        may_act=source.may_idle,
        on_state=source.show,
        datagrams=datagrams,
    )
    datagrams.want, datagrams.changed = sleeper.want, sleeper.sessions_changed
    datagrams.targets = lambda alias: _targets(ads, alias)
    pages = Pages(sleeper, source)
    ads.gates.on_want, ads.gates.on_epoch, ads.gates.page = sleeper.want, sleeper.take_over, pages.page
    stranded = StrandedRequests(sleeper)

    def reported(report: Report) -> None:
        sleeper.reported(report)
        stranded.reported(report)

    ads.loads.on_report = reported
    ads.loads.configure(_REPORT_INTERVAL)
    server = PageServer(pages.status, sleeper.changed, sleeper.want)
    stack.push_async_callback(server.close)
    await server.start(socket)
    return sleeper
