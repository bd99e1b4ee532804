"""Runs an Envoy separately from the daemon (``pilotage envoy``), and stops both (``pilotage stop``)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilotage.core.errors import GatewayError, PilotageError
from pilotage.core.tempdirs import lock_file
from pilotage.daemon.envoy import DAEMON_LOCK, ENVOY_LOCK, kept_folder, make_gateway, shut_down
from pilotage.daemon.loop_errors import LoopErrors
from pilotage.daemon.settings import envoy_settings
from pilotage.daemon.systemd import Systemd
from pilotage.gateway.adoption import end_kept
from pilotage.gateway.binary import find_envoy
from pilotage.gateway.capacity import descriptor_limit, raise_descriptor_limit
from pilotage.gateway.overload import OverloadMonitor
from pilotage.gateway.processes import PidfdProcess, start_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.daemon.settings import EnvoySettings

__all__ = ["run_envoy", "stop_both"]

log = logging.getLogger(__name__)

_END: Final = 10.0  # seconds that a daemon may take to stop if it keeps its Envoy


async def run_envoy(config: str, api: tuple[str, ...], env: Mapping[str, str]) -> None:
    """Run an Envoy for a daemon with ``gateway.keep: external`` until SIGTERM or SIGINT.

    An Envoy that an earlier call left behind is adopted. On SIGHUP, the configuration is read again. If the
    configuration or the Envoy binary has changed, a new Envoy takes over the listening sockets.

    Args:
        config: the configuration file; ``""`` for the default one.
        api: addresses of the daemon's API, overriding the configuration.
        env: the environment.

    Raises:
        PilotageError: Envoy cannot start, or the configuration has errors.

    """
    raise_descriptor_limit()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopErrors())
    keeper = _Keeper(Systemd(env))
    handlers = {signal.SIGTERM: keeper.stop, signal.SIGINT: keeper.stop, signal.SIGHUP: keeper.renew.set}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # a request that came during startup
    settings = envoy_settings(config, api, env)
    with kept_folder(settings.folder, ENVOY_LOCK) as folder:
        while await keeper.run(settings, folder):
            try:
                renewed = envoy_settings(config, api, env)
                find_envoy(renewed.gateway.envoy)
            except PilotageError as error:
                log.error("configuration rejected; the previous one stays active: %s", error)  # noqa: TRY400  # for operators
            else:
                settings = renewed


class _Keeper:
    """Runs Envoy, and stops or replaces it when a signal arrives."""

    def __init__(self, systemd: Systemd) -> None:
        self.renew = asyncio.Event()
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._systemd = systemd

    def stop(self) -> None:
        """Drain and stop Envoy, or stop it immediately if called again."""
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    async def run(self, settings: EnvoySettings, folder: Path) -> bool:
        """Run Envoy until a signal arrives. Return whether to run it again with new settings."""
        self.renew.clear()
        gateway = make_gateway(folder, settings.gateway, settings.limits)
        overload = OverloadMonitor(gateway, folder, descriptor_limit(), settings.limits)
        overload.prepare()
        running = [asyncio.create_task(gateway.run()), asyncio.create_task(overload.run())]
        asked = [asyncio.create_task(event.wait()) for event in (self._stop, self.renew)]
        # Envoy is ready only once the daemon has sent it routes, and systemd starts the daemon after this.
        self._systemd.ready("running Envoy")
        try:
            await asyncio.wait([running[0], *asked], return_when=asyncio.FIRST_COMPLETED)
            if running[0].done():
                running[0].result()  # raises
            elif self._stop.is_set():
                self._systemd.stopping()
                await shut_down(gateway, settings.gateway.drain, self._stop_now)
            else:
                gateway.leave()
                return True
        finally:
            for task in (*running, *asked):
                task.cancel()
            await asyncio.wait([*running, *asked])
        return False


async def stop_both(config: str, api: tuple[str, ...], env: Mapping[str, str]) -> tuple[bool, bool]:
    """Stop a daemon, then the Envoy that outlives it. Active requests may take up to ``gateway.drain`` to finish.

    Args:
        config: the configuration file; ``""`` for the default one.
        api: addresses of the daemon's API, overriding the configuration.
        env: the environment.

    Returns:
        Whether a daemon was running, and whether an Envoy was running.

    Raises:
        PilotageError: the configuration has errors, or a process cannot be stopped.

    """
    settings = envoy_settings(config, api, env)
    folder = Path(settings.folder)
    if not folder.is_dir():  # noqa: ASYNC240  # nothing else runs in this loop
        return False, False
    daemon = await _end_holder(folder / DAEMON_LOCK, _END)
    keeper = await _end_holder(folder / ENVOY_LOCK, settings.gateway.drain + _END)
    envoy = await end_kept(folder, settings.gateway.drain)
    return daemon, keeper or envoy


async def _end_holder(path: Path, limit: float) -> bool:
    """Send SIGTERM to the process that holds a lock and wait until it ends. Return False if the lock is free."""
    try:
        process = _holder(path)
    except OSError as error:
        raise GatewayError(f"cannot read {path}: {error.strerror}", "run this as the daemon's user") from error
    if process is None:
        return False
    try:
        process.terminate()
        async with asyncio.timeout(limit):
            await process.wait()
    except PermissionError as error:
        raise GatewayError(f"cannot stop process {process.pid}", "run this as the daemon's user") from error
    except TimeoutError as error:
        raise GatewayError(f"process {process.pid} did not stop within {limit:g} s", "kill it") from error
    return True


def _holder(path: Path) -> PidfdProcess | None:
    """Return the process that holds a lock; ``None`` if the lock is free.

    Raises:
        OSError: the file cannot be opened.

    """
    with contextlib.suppress(FileNotFoundError, ValueError):
        pid = int(path.read_text(encoding="ascii"))
        process = PidfdProcess.open(pid, start_time(pid))
        free = lock_file(path, create=False)
        if free is None:  # still held, so the process ID has not been used again
            return process
        os.close(free)
    return None
