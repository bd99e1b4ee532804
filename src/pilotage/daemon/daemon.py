"""Runs the daemon: engine discovery, Envoy, the xDS server and the API, in one task group.

On shutdown, the gateway drains first, while discovery still updates its endpoints.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pilotage.api.certificates import CertificateMetrics
from pilotage.api.envoys import EnvoyMetrics
from pilotage.api.history import ChangeHistory
from pilotage.api.metrics import CountingConnection, Metrics
from pilotage.api.server import Api
from pilotage.core.errors import ConfigError, EngineUnreachable, GatewayError, PilotageError, first_exception
from pilotage.core.text import count
from pilotage.daemon.agents import AgentKeeper, start_agents
from pilotage.daemon.certificates import CertificateKeeper, start_certificates
from pilotage.daemon.change_log import log_changes
from pilotage.daemon.cloudflare import CloudflareNetworks
from pilotage.daemon.dashboard import DashboardRoute
from pilotage.daemon.envoy import NODE, PAGES_SOCKET, envoy_folder, free_ports, make_gateway, shut_down, xds_address
from pilotage.daemon.files import options_with_files, start_file_server
from pilotage.daemon.gateway_ports import gateway_ports
from pilotage.daemon.held_names import HeldNames
from pilotage.daemon.own_container import OwnContainer
from pilotage.daemon.readiness import envoy_trouble
from pilotage.daemon.reload import Reloader, log_warnings
from pilotage.daemon.sign_in import SignInKeeper, start_sign_in
from pilotage.daemon.sleep import start_sleeper
from pilotage.daemon.systemd import Systemd
from pilotage.daemon.xds import start_xds
from pilotage.dashboard.site import Dashboard
from pilotage.discovery.host_addresses import HostAddresses
from pilotage.discovery.manager import discover
from pilotage.engine.pool import Pool
from pilotage.gateway.capacity import descriptor_limit
from pilotage.gateway.health import HealthPoller
from pilotage.gateway.overload import OverloadMonitor
from pilotage.gateway.traffic import TrafficReader
from pilotage.routes.as_written import AsWritten
from pilotage.table.envoys import SILENT
from pilotage.xds.server import AdsServer
from pilotage.xds.target_guard import TargetGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from pilotage.containers.container import Container
    from pilotage.core.problems import Problem
    from pilotage.daemon.settings import DaemonSettings
    from pilotage.discovery.manager import DiscoveryManager
    from pilotage.engine.address import Address
    from pilotage.engine.connection import Connection
    from pilotage.gateway.process import Gateway, GatewayStatus
    from pilotage.output.urls import GatewayPorts
    from pilotage.sleep.sleeper import Sleeper
    from pilotage.table.envoys import EnvoyState, RouteState
    from pilotage.table.traffic import RouteTraffic
    from pilotage.xds.resources import Key

__all__ = ["Daemon"]

log = logging.getLogger(__name__)

_FIRST_NAMES: Final = 5.0
"""Seconds that the first table waits for the addresses of host names."""

_ALL_LISTS: Final = 300.0
"""Seconds for which Envoys keep the earlier routes of engines that have not been listed since the start."""

_FIRST_LISTS: Final = 10.0
"""Seconds that the first table waits for engines that neither respond nor fail. Their routes follow later."""


class Daemon:
    """Runs all components. Provides the API's data (:class:`pilotage.api.source.Source`).

    Args:
        settings: the initial settings.
        rebuild: returns the settings of the current configuration; raises ConfigError.
        env: the environment.
        ready: called once the first table is served.

    Attributes:
        discovery: engines and table, while the daemon runs.
        metrics: counters and gauges.
        history: the latest changes of the table.
        api: the HTTP API, while the daemon runs.
        gateway: the daemon's own Envoy; ``None`` if the daemon runs no Envoy.
        ads: the xDS server.
        sleeper: puts containers to sleep and wakes them, while the daemon runs.
        certificates: obtains certificates, while the daemon runs.
        xds_address: where other Envoys get their configuration, ``unix:/path`` or ``host:port``; ``""`` if nowhere.

    """

    discovery: DiscoveryManager
    api: Api
    ads: AdsServer
    sleeper: Sleeper
    certificates: CertificateKeeper
    _agents: AgentKeeper
    _sign_in: SignInKeeper

    def __init__(
        self,
        settings: DaemonSettings,
        rebuild: Callable[[], DaemonSettings],
        env: Mapping[str, str],
        ready: Callable[[Daemon], object],
    ) -> None:
        self.metrics = Metrics()
        self.history = ChangeHistory()
        self.gateway: Gateway | None = None
        self.xds_address = settings.xds_address
        self._local_addresses = HostAddresses()
        self._own_container = OwnContainer(self._local_addresses, self._containers_at)
        self._reloader = Reloader(settings, rebuild)
        self._written = AsWritten(
            lambda: self.discovery.table.routes,
            lambda engine: self.discovery.containers_of(engine),  # noqa: PLW0108  discovery starts later
            lambda: self.discovery.files(),  # noqa: PLW0108
        )
        self._health: HealthPoller | None = None
        self._overload: OverloadMonitor | None = None
        self._env, self._on_ready = env, ready
        self._systemd, self._held_names = Systemd(env), HeldNames(env)
        self._waiting_for = "engines have not been listed yet"
        self._stop, self._stop_now = asyncio.Event(), asyncio.Event()

    @property
    def settings(self) -> DaemonSettings:
        """The active settings."""
        return self._reloader.settings

    @property
    def reloads(self) -> Mapping[str, int]:
        """Number of configuration reloads by result, ``taken`` or ``refused``."""
        return self._reloader.results

    # ---- signal handlers

    def stop(self) -> None:
        """Shut down gracefully, or immediately if called again."""
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    def reload(self) -> None:
        """Reload the configuration soon."""
        self._reloader.request()

    # ---- what the API reports

    @property
    def config_file(self) -> str:
        """Absolute path of the configuration file; ``""`` if there is none."""
        return str(Path(self.settings.file).resolve()) if self.settings.file else ""

    @property
    def gateway_ports(self) -> GatewayPorts | None:
        """The gateway's addresses and domains, for the URLs of routes; ``None`` if the daemon runs no Envoy."""
        return gateway_ports(self.settings.options) if self.settings.with_gateway else None

    @property
    def revision(self) -> int:
        """A number that changes whenever an Envoy connects, disconnects, accepts or rejects something."""
        return self.ads.envoys.revision

    def problems(self) -> tuple[Problem, ...]:
        """Return all problems with labels, engines and the configuration, and all rejections by Envoys."""
        found = (*self.discovery.table.problems, *self._written(self.ads.problems), *self.settings.problems)
        return (*found, *self._reloader.problems, *self.sleeper.problems(), *self.certificates.problems())

    def not_ready(self) -> str:
        """Return why the daemon is not ready; ``""`` if it is."""
        if self._stop.is_set():
            return "stopping"
        if self._waiting_for or self.gateway is None:
            return self._waiting_for
        trouble = envoy_trouble(self.gateway.status, self.ads, NODE)
        return trouble or (self._overload.problem if self._overload is not None else "")

    def envoys(self) -> tuple[EnvoyState, ...]:
        """Return the state of each Envoy that is or was connected."""
        return self.ads.envoys.states

    def route_states(self, alias: str) -> Mapping[str, RouteState]:
        """Return the state of a route on each connected Envoy; see :meth:`AdsServer.route_states`."""
        return self.ads.route_states(alias)

    async def traffic(self) -> Mapping[str, RouteTraffic]:
        """Return the request statistics of each route; see :meth:`TrafficReader.read`."""
        return await self._traffic.read()

    async def gateway_statistics(self) -> bytes:
        """Return the metrics of the daemon's Envoy, in Prometheus's text format.

        Raises:
            GatewayError: the daemon runs no Envoy, or its Envoy does not respond.

        """
        if self.gateway is None:
            raise GatewayError("the daemon runs no Envoy of its own", "ask the connected Envoys")
        return await self.gateway.statistics()

    # ---- life cycle

    async def run(self) -> None:
        """Run until :meth:`stop`.

        Raises:
            PilotageError: a resource that the daemon needs is missing or in use.

        """
        log_warnings(settings := self.settings)
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(envoy_folder(settings))  # first the checks that need no running component
            if settings.with_gateway:
                await free_ports(settings, folder)
                external = settings.gateway.keep == "external"
                self.gateway = make_gateway(folder, settings.gateway, settings.limits, external=external)
                if not external:
                    self._overload = OverloadMonitor(self.gateway, folder, descriptor_limit(), settings.limits)
                    self._overload.prepare()
            self.ads = await stack.enter_async_context(
                AdsServer(options_with_files(settings, folder), on_nack=self._on_rejected, guard=self._guard(settings))
            )
            await start_file_server(self.ads, stack)
            self._traffic = TrafficReader(self.gateway, self.ads.loads, self.ads.snapshot.backend)
            self.certificates = await start_certificates(self.ads, settings, self._env)
            await start_xds(self.ads, xds_address(folder), settings, public=self.xds_address, written=self._written)
            await self._start_discovery(stack)
            self._sign_in = start_sign_in(self.ads, self._env, settings.keep_folder, stack)
            self._cloudflare = CloudflareNetworks(self.ads)
            self._agents = await start_agents(self.discovery, self.ads, stack, folder, tunnels=settings.with_gateway)
            pages = f"{folder}/{PAGES_SOCKET}"
            self.sleeper = await start_sleeper(self.discovery, self.ads, pages, stack, self._agents.tunnels)
            people = await stack.enter_async_context(Dashboard(self, token=settings.token, reload=self.reload))
            api = Api(self, settings.listen, token=settings.token, if_free=settings.listen_if_free, pages=people)
            self.api = await stack.enter_async_context(api)
            self._dashboard_route = DashboardRoute(folder if settings.with_gateway else None)
            if routes := await self._dashboard_route.configure(settings.dashboard, self.api):
                await self.discovery.use_files((*settings.files, *routes))
            if self.gateway is not None:
                self._health = HealthPoller(self.gateway, self.ads.snapshot.backend, self.discovery.set_health)
                self.ads.targets.on_touched.append(self._health.follow)
            await self._run_tasks()

    async def _start_discovery(self, stack: AsyncExitStack) -> None:
        pool = await stack.enter_async_context(Pool(connect=self._connection))
        discovery = discover(
            self.settings.engines,
            files=self.settings.files,
            pool=pool,
            env=self._env,
            reserved_ports=self.settings.reserved_ports,
            policy=self.settings.policy,
            on_lag=self.metrics.reached_table,
        )
        self.discovery = await stack.enter_async_context(discovery)
        self.discovery.store.reserve(self._held_names.load(), [engine.name for engine in self.settings.engines])
        self.metrics.registry.register(EnvoyMetrics(self.envoys))
        self.metrics.registry.register(CertificateMetrics(self.certificates))
        self.metrics.watch(self.discovery, problems=self.problems, gateway=self._gateway_status, reloads=self.reloads)

    async def _run_tasks(self) -> None:
        coroutines: list[Coroutine[Any, Any, None]] = [
            self._publish_tables(),
            self._reload_on_request(),
            self._systemd.feed_watchdog(),
            self._reloader.watch_certificates(self.ads),
            self._reloader.watch_config(),
            self.sleeper.run(),
            self._agents.run(),
            self._held_names.run(self.discovery.store),
            self.certificates.run(),
        ]
        coroutines += [it.run() for it in (self._cloudflare, self.gateway, self._health, self._overload) if it]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(coroutine) for coroutine in coroutines]
                await self._stop.wait()
                await self._shut_down()
                for task in tasks:
                    task.cancel()
        except* PilotageError as errors:
            raise first_exception(errors) from None

    async def _shut_down(self) -> None:
        self._systemd.stopping()
        if self.gateway is not None and self.settings.keep_folder:
            self.gateway.leave()
            log.info("stopping; Envoy keeps serving (to stop it, too, run 'pilotage stop')")
        elif self.gateway is not None:
            await shut_down(self.gateway, self.settings.gateway.drain, self._stop_now)

    # ---- tables for Envoys

    async def _publish_tables(self) -> None:
        """Publish the first table once each engine has been listed, has failed or is too slow; then every update."""
        with contextlib.suppress(EngineUnreachable):
            await self.discovery.ready(or_away=True, timeout=_FIRST_LISTS)
        self._agents.update()  # the agents have reported their names, which route files may use
        self.discovery.store.keep_holders()
        self.ads.removals.begin()
        self._waiting_for = "Envoy has not accepted the first table yet"
        async with asyncio.TaskGroup() as group:
            measurement: asyncio.Task[None] | None = None
            group.create_task(self._report_ready(), name="first table")
            group.create_task(self._release_removals(), name="removals")
            await self.ads.targets.prepare(self.discovery.table, _FIRST_NAMES)
            self.sleeper.follow(self.discovery.table.routes)
            self.ads.publish(self.discovery.table)  # even if it is empty
            async for update in self.discovery:
                log_changes(update)
                self.history.add(update)
                self.sleeper.follow({change.alias for change in update.changes if change.alias})
                if (keys := self.ads.publish(update)) and (measurement is None or measurement.done()):  # one at a time
                    measurement = group.create_task(self._measure_acceptance(keys), name="acceptance")

    async def _release_removals(self) -> None:
        """Let Envoys keep an earlier process's routes until all engines have been listed or a timeout has passed."""
        with contextlib.suppress(EngineUnreachable):
            await self.discovery.ready(timeout=_ALL_LISTS)
        self.ads.release_removals()

    async def _report_ready(self) -> None:
        """Report that the daemon is ready once its Envoy, if any, has accepted the first table."""
        if self.gateway is not None:
            await self.gateway.ready()
            await self.ads.wait_for_acks(node=NODE)
            if problems := self.ads.listener_problems(NODE):
                raise ConfigError(problems)
            self.gateway.leave()
        self._waiting_for = ""
        self._systemd.ready(self._status_text())
        self._on_ready(self)

    async def _measure_acceptance(self, keys: frozenset[Key]) -> None:
        began = time.perf_counter()
        await self.ads.wait_for_acks(keys, patience=SILENT)
        self.metrics.accepted(time.perf_counter() - began)

    def _on_rejected(self, problem: Problem) -> None:
        self.metrics.nacks += 1
        log.error("%s", *self._written([problem]))

    def _status_text(self) -> str:
        served = sum(not route.excluded for route in self.discovery.table.routes.values())
        return f"{count(served, 'route')} of {count(len(self.settings.engines), 'engine')}"

    async def _reload_on_request(self) -> None:
        while True:
            await self._reloader.requested()
            started = not self._waiting_for  # before that, READY=1 after the reload would be premature
            if started:
                self._systemd.reloading()
            await self._reloader.reload(self._configure, self._apply)
            if started:
                self._systemd.ready(self._status_text())

    def _guard(self, settings: DaemonSettings) -> TargetGuard:
        return TargetGuard(settings.policy, settings.reserved_ports, self._local_addresses, self._own_container)

    def _configure(self, settings: DaemonSettings) -> None:
        self.ads.configure(self._cloudflare.complete(self._sign_in.complete(settings.options)), self._guard(settings))

    async def _apply(self, old: DaemonSettings, new: DaemonSettings) -> None:
        routes = await self._dashboard_route.configure(new.dashboard, self.api)
        done = await self.discovery.apply_config(
            new.engines, (*new.files, *routes), reserved_ports=new.reserved_ports, policy=new.policy
        )
        self._agents.update()
        self.certificates.configure(new)
        if old.options != new.options:
            done.append("changed gateway settings")
        log.info("configuration reloaded: %s", ", ".join(done) or "no changes")

    def _connection(self, address: Address) -> Connection:
        connection = CountingConnection(address)
        connection.calls = self.metrics.calls
        return connection

    def _containers_at(self, addresses: frozenset[str]) -> list[Container]:
        return self.discovery.containers_at(addresses)  # it exists only while the daemon runs

    def _gateway_status(self) -> GatewayStatus | None:
        return self.gateway.status if self.gateway is not None else None
