"""One task group that holds it all: engines -> table -> Envoy, the API, signals, and the configuration reread.

It stops in good order: the gateway drains while engines are still watched and endpoints still follow them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pilotage.api.metrics import CountingConnection, Metrics
from pilotage.api.server import Api
from pilotage.core.errors import ConfigError, GatewayError, PilotageError
from pilotage.core.filewatch import watch_files
from pilotage.core.problems import Problem
from pilotage.core.tempdirs import socket_tempdir
from pilotage.core.text import count
from pilotage.daemon.change_log import log_change
from pilotage.daemon.settings import build_settings, changed_settings, check_ports, rebuild_settings
from pilotage.daemon.systemd import Systemd
from pilotage.discovery.manager import discover
from pilotage.engine.pool import Pool
from pilotage.gateway.binary import find_envoy
from pilotage.gateway.health import HealthPoller
from pilotage.gateway.process import Gateway
from pilotage.xds.bootstrap import bootstrap
from pilotage.xds.server import AdsServer

if TYPE_CHECKING:
    import tempfile
    from collections.abc import Callable, Coroutine, Mapping

    from pilotage.daemon.settings import DaemonSettings, Flags
    from pilotage.discovery.manager import Discovery
    from pilotage.engine.address import Address
    from pilotage.engine.connection import Connection
    from pilotage.gateway.process import GatewayStatus
    from pilotage.xds.resources import Key

__all__ = ["Daemon", "serve"]

log = logging.getLogger(__name__)

_NODE: Final = "pilotage"
"""What our own Envoy calls itself; those elsewhere have other names."""

_FIRST_LISTS: Final = 10.0
"""Seconds that the first table waits for engines that neither answer nor fail: theirs comes when they do."""


async def serve(flags: Flags, env: Mapping[str, str], *, ready: Callable[[Daemon], object] = lambda _: None) -> None:
    """Serve until SIGTERM or SIGINT, which end it in good order; a second one ends it at once. SIGHUP rereads.

    Args:
        flags: what the command line says.
        env: the environment.
        ready: called once the first table is served.

    Raises:
        PilotageError: it cannot be begun, for what was written or because something is missing or taken.

    """
    settings = build_settings(flags, env)
    daemon = Daemon(settings, lambda: rebuild_settings(flags, env, settings), env, ready)
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGTERM: daemon.stop, signal.SIGINT: daemon.stop, signal.SIGHUP: daemon.reload}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        await daemon.run()
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


class Daemon:
    """The running whole; also what the API tells about.

    Args:
        settings: what to do.
        rebuild_settings: makes a new settings of the configuration as it is then.
        env: the environment.
        ready: called once the first table is served.

    Attributes:
        settings: what is being done.
        discovery: engines and table, while it runs.
        metrics: the figures.
        api: the HTTP API, while it runs.
        gateway: our Envoy, ``None`` without one.
        ads: the configuration server for Envoys.
        xds_address: where Envoys elsewhere get their configuration, ``host:port``; ``""`` for nowhere.
        reloads: ``taken`` and ``refused`` -> how often the configuration was reread.

    """

    discovery: Discovery
    api: Api
    ads: AdsServer

    def __init__(
        self,
        settings: DaemonSettings,
        rebuild_settings: Callable[[], DaemonSettings],
        env: Mapping[str, str],
        ready: Callable[[Daemon], object],
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.gateway: Gateway | None = None
        self._health: HealthPoller | None = None
        self.xds_address = settings.xds_address
        self.reloads = {"taken": 0, "refused": 0}
        self._rebuild = rebuild_settings
        self._env = env
        self._tell_ready = ready
        self._systemd = Systemd(env)
        self._waiting_for = "engines have not been listed yet"
        self._config_faults: tuple[Problem, ...] = ()
        self._stop = asyncio.Event()
        self._now = asyncio.Event()
        self._reread = asyncio.Event()
        self._changed = asyncio.Event()

    # ---- what signals do

    def stop(self) -> None:
        """End in good order; when called again, at once."""
        if self._stop.is_set():
            self._now.set()
        self._stop.set()

    def reload(self) -> None:
        """Read the configuration again."""
        self._reread.set()

    # ---- what the API asks

    @property
    def config_file(self) -> str:
        """The full name of the configuration file, ``""`` without one."""
        return str(Path(self.settings.file).resolve()) if self.settings.file else ""

    def problems(self) -> tuple[Problem, ...]:
        """Return everything that is wrong: labels, engines, configuration, what Envoy cannot do or has refused."""
        return (*self.discovery.table.problems, *self.ads.problems, *self.settings.problems, *self._config_faults)

    def not_ready(self) -> str:
        """Return why the first table is not served, ``""`` when it is."""
        if self._stop.is_set():
            return "stopping"
        if not self._waiting_for and self.gateway is not None and self.gateway.status.state != "ready":
            return "Envoy is being started again"
        unheard = self.ads.unheard(_NODE) if self.gateway is not None and not self._waiting_for else ()
        return unheard[0].message if unheard else self._waiting_for

    async def gateway_statistics(self) -> bytes:
        """Return Envoy's own figures for Prometheus.

        Raises:
            GatewayError: there is no Envoy of ours, or it does not answer.

        """
        if self.gateway is None:
            raise GatewayError("there is no Envoy of ours", "ask the Envoys that are connected")
        return await self.gateway.statistics()

    # ---- its life

    async def run(self) -> None:
        """Run until :meth:`stop`.

        Raises:
            PilotageError: something that is needed cannot be had.

        """
        settings = self.settings
        if settings.with_gateway:
            check_ports(settings)
        async with AsyncExitStack() as stack:
            # What fails without anything running comes first.
            folder = Path(stack.enter_context(_private_folder()))
            binary = find_envoy(settings.gateway.envoy) if settings.with_gateway else None
            self.ads = await stack.enter_async_context(AdsServer(settings.options, on_refused=self._refused))
            address = f"unix:{folder}/xds.sock"
            try:
                await self.ads.start(address)
            except OSError as error:
                raise GatewayError(str(error), "name a folder in TMPDIR that can hold sockets") from error
            if self.xds_address:
                await _start_for_others(self.ads, self.xds_address, settings)
            pool = await stack.enter_async_context(Pool(connect=self._connection))
            found = discover(
                settings.engines,
                files=settings.files,
                pool=pool,
                env=self._env,
                reserved_ports=settings.reserved_ports,
                on_lag=self.metrics.reached_table,
            )
            self.discovery = await stack.enter_async_context(found)
            self.metrics.watch(
                self.discovery, problems=self.problems, gateway=self._gateway_status, reloads=self.reloads
            )
            api = Api(self, settings.listen, token=settings.token, if_free=settings.listen_if_free)
            self.api = await stack.enter_async_context(api)
            if binary is not None:
                self.gateway = Gateway(
                    bootstrap(address, _NODE),
                    folder,
                    binary=binary,
                    workers=settings.gateway.workers,
                    log_level=settings.gateway.log_level,
                )
                self._health = HealthPoller(self.gateway, self.ads.snapshot.site, self.discovery.observe)
            await self._work()

    async def _work(self) -> None:
        tasks: list[Coroutine[Any, Any, None]] = [
            self._feed(),
            self._rereading(),
            self._watchdog(),
            self._watch_certificates(),
        ]
        if self.settings.file:
            tasks.append(self._watch_file(self.settings.file))
        if self.gateway is not None:
            tasks.append(self.gateway.run())
        if self._health is not None:
            tasks.append(self._health.run())
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(task) for task in tasks]
                await self._stop.wait()
                await self._leave()
                for task in running:
                    task.cancel()
        except* PilotageError as errors:
            raise _first(errors) from None

    async def _leave(self) -> None:
        self._systemd.stopping()
        if self.gateway is None:
            return
        limit = self.settings.gateway.drain
        log.info("stopping: no new connections; requests have %g s to end (a second signal ends them now)", limit)
        drain = asyncio.create_task(self.gateway.drain(limit))
        now = asyncio.create_task(self._now.wait())
        await asyncio.wait({drain, now}, return_when=asyncio.FIRST_COMPLETED)
        now.cancel()
        if drain.done():
            cut = drain.result()
            log.log(logging.WARNING if cut else logging.INFO, "Envoy has stopped; %d requests were cut off", cut)
        else:
            drain.cancel()
            await self.gateway.stop()
            log.warning("Envoy was stopped at once")

    # ---- the flow

    async def _feed(self) -> None:
        """Bring every table to the Envoys. The first one waits until it is complete, as far as engines can be had."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LISTS):
                await self.discovery.ready(or_away=True)
        self._waiting_for = "Envoy has not taken the first table yet"
        async with asyncio.TaskGroup() as group:
            measuring: asyncio.Task[None] | None = None
            group.create_task(self._until_served(), name="first table")
            self.ads.publish(self.discovery.table)  # also when it is empty
            async for update in self.discovery:
                for change in update.changes:
                    log_change(change, update)
                keys = self.ads.publish(update)
                if self._health is not None:
                    self._health.follow(update)
                if keys and (
                    measuring is None or measuring.done()
                ):  # one at a time is enough to know how long it takes
                    measuring = group.create_task(self._measure(keys), name="acceptance")

    async def _until_served(self) -> None:
        if self.gateway is not None:
            await self.gateway.ready()
            await self.ads.acked(node=_NODE)
            if unheard := self.ads.unheard(_NODE):
                raise ConfigError(unheard)
        self._waiting_for = ""
        self._systemd.ready(self._in_short())
        self._tell_ready(self)

    async def _measure(self, keys: frozenset[Key]) -> None:
        began = time.perf_counter()
        await self.ads.acked(keys)
        self.metrics.accepted(time.perf_counter() - began)

    def _refused(self, problem: Problem) -> None:
        self.metrics.refusals += 1
        log.error("%s", problem)

    def _in_short(self) -> str:
        served = sum(not route.excluded for route in self.discovery.table.routes.values())
        return f"{count(served, 'route')} of {count(len(self.settings.engines), 'engine')}"

    async def _watchdog(self) -> None:
        """Give systemd its signs of life, if it wants any: this loop turns."""
        while self._systemd.watchdog:
            self._systemd.alive()
            await asyncio.sleep(self._systemd.watchdog)

    # ---- the configuration, again

    async def _watch_file(self, file: str) -> None:
        async for _ in watch_files(file):
            self._reread.set()

    async def _watch_certificates(self) -> None:
        """Take renewed certificates; which files they are may change with the configuration."""
        while True:
            self._changed.clear()
            pairs = self.settings.options.certificates
            names = [name for pair in pairs for name in (pair.certificate, pair.key)]
            following = asyncio.create_task(self._follow_certificates(names))
            try:
                while pairs == self.settings.options.certificates:
                    await self._changed.wait()
                    self._changed.clear()
            finally:
                following.cancel()
                await asyncio.wait([following])

    async def _follow_certificates(self, files: list[str]) -> None:
        async for _ in watch_files(*files):
            try:
                self.ads.reload_certificates()
            except ConfigError as error:
                log.error("the old certificates stay: %s", error)  # noqa: TRY400  # for operators
            else:
                log.info("certificates read again")

    async def _rereading(self) -> None:
        while True:
            await self._reread.wait()
            self._reread.clear()
            started = not self._waiting_for  # before that systemd shall not hear that we are ready, if again
            if started:
                self._systemd.reloading()
            try:
                settings = self._rebuild()
                if settings.with_gateway:
                    check_ports(settings, held=self.settings)
                self.ads.configure(settings.options)
            except ConfigError as error:
                self.reloads["refused"] += 1
                self._config_faults = error.problems
                for problem in error.problems:
                    log.error("the configuration is not taken: %s", problem)  # noqa: TRY400  # for operators
            else:
                self.reloads["taken"] += 1
                self._config_faults = ()
                await self._change(settings)
            if started:
                self._systemd.ready(self._in_short())

    async def _change(self, new: DaemonSettings) -> None:
        """Do what a new settings asks for; what it does not change is not touched."""
        old, self.settings = self.settings, new
        self._changed.set()
        told: list[str] = []
        before = {engine.name or engine.url: engine for engine in old.engines}
        after = {engine.name or engine.url: engine for engine in new.engines}
        for name in [name for name in before if before[name] != after.get(name)]:
            await self.discovery.remove(name)
            told.append(f"{'changed' if name in after else 'removed'} engine {name}")
        for name in [name for name in after if before.get(name) != after[name]]:
            self.discovery.add(after[name])
            if name not in before:
                told.append(f"added engine {name}")
        if old.files != new.files:
            await self.discovery.use_files(new.files)
            told.append("changed files of routes")
        if old.options != new.options:
            if self._health is not None:
                self._health.follow(self.discovery.table)  # other routes may be served now, and so be probed
            told.append("changed settings of the gateway")
        log.info("configuration read again: %s", ", ".join(told) or "nothing to do")
        later = changed_settings(old, new)
        if later:
            log.warning("changed, but in force only after a restart: %s", ", ".join(later))

    # ---- small things

    def _connection(self, address: Address) -> Connection:
        connection = CountingConnection(address)
        connection.calls = self.metrics.calls
        return connection

    def _gateway_status(self) -> GatewayStatus | None:
        return self.gateway.status if self.gateway is not None else None


def _private_folder() -> tempfile.TemporaryDirectory[str]:
    """Make the folder that holds our sockets and Envoy's files; the context manager removes it."""
    try:
        return socket_tempdir("pilotage-", "admin.sock")
    except OSError as error:
        remedy = "make /tmp writable (in a container: --tmpfs /tmp), or name another folder in TMPDIR"
        raise GatewayError(f"no folder for temporary files can be made: {error.strerror}", remedy) from error


async def _start_for_others(ads: AdsServer, place: str, settings: DaemonSettings) -> None:
    files = settings.gateway.xds.tls
    try:
        names = (files.ca_file, files.cert_file, files.key_file) if files is not None else ()
        read = [await asyncio.to_thread(Path(name).read_bytes) for name in names]
        await ads.start(place, tls=(read[0], read[1], read[2]) if read else None)
    except OSError as error:
        hint = "change gateway.xds in the configuration"
        raise ConfigError([Problem(message=f"no Envoy can be told on {place}: {error}", hint=hint)]) from error


def _first(group: BaseExceptionGroup[PilotageError]) -> PilotageError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, PilotageError)  # noqa: S101  # by except*
    return error
