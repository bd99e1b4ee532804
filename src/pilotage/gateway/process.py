"""Runs Envoy: monitors, restarts, drains and stops it.

Envoy's admin interface listens on a unix socket in a private folder, and Envoy's log becomes part of the daemon's log.
Envoy is restarted when it exits or stops responding. How Envoy is started, and whether Envoy ends with this process, is
up to a :class:`~pilotage.gateway.launch.Launcher`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from typing import TYPE_CHECKING, Any, Literal

import aiohttp
import msgspec

from pilotage.core.errors import GatewayError
from pilotage.gateway.admin import AdminClient
from pilotage.gateway.envoy_log import EnvoyLog
from pilotage.gateway.launch import ADMIN_SOCKET, ChildLauncher
from pilotage.gateway.processes import UNKNOWN_STATUS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pilotage.gateway.launch import EnvoyProcess, Launcher

__all__ = ["Gateway", "GatewayStatus", "GatewayTiming"]

log = logging.getLogger(__name__)


class GatewayTiming(msgspec.Struct, frozen=True, kw_only=True):
    """Intervals and timeouts of a :class:`Gateway`, in seconds.

    Attributes:
        look: interval of readiness checks; a tenth of this while Envoy is starting.
        answer: timeout of requests to the admin interface.
        silence: how long Envoy may go without responding before it is killed and restarted.
        start: how long Envoy may take to become ready for the first time before it is killed.
        first_pause: pause before a restart if Envoy exited soon after its start; doubled for each further restart.
        longest_pause: upper limit of the pause before a restart.
        settled: Envoy is restarted without a pause if it was ready for at least this long before it exited.
        stop: how long Envoy may take to exit after SIGTERM before it is killed.

    """

    look: float = 1.0
    answer: float = 5.0
    silence: float = 30.0
    start: float = 60.0
    first_pause: float = 0.25
    longest_pause: float = 15.0
    settled: float = 1.0
    stop: float = 5.0


State = Literal["starting", "ready", "down", "draining", "stopped"]


class GatewayStatus(msgspec.Struct, frozen=True):
    """State of the Envoy process.

    Attributes:
        state: ``starting`` until it accepts requests, then ``ready``; ``down`` during a restart; ``draining``;
            ``stopped``.
        pid: process ID, 0 if there is no process.
        restarts: number of restarts.
        since: when Envoy entered this state, in seconds since 1970.

    """

    state: State
    pid: int = 0
    restarts: int = 0
    since: float = 0.0


class Gateway:
    """Keeps one Envoy running.

    Run :meth:`run` in a task and call :meth:`drain` to stop. Cancelling the task kills Envoy immediately.

    Args:
        bootstrap: Envoy's initial configuration; the admin interface is added.
        folder: a private folder for files and sockets, with a path of at most 90 bytes.
        binary: the Envoy binary.
        workers: number of worker threads; 0 means one per CPU.
        log_level: one of Envoy's log levels.
        timing: intervals and timeouts.
        launcher: starts Envoy; by default a :class:`ChildLauncher` with the other arguments.

    Raises:
        GatewayError: the configuration cannot be written.

    """

    def __init__(
        self,
        bootstrap: Mapping[str, Any],
        folder: Path,
        *,
        binary: Path,
        workers: int = 0,
        log_level: str = "warning",
        timing: GatewayTiming | None = None,
        launcher: Launcher | None = None,
    ) -> None:
        self.folder = folder
        self.timing = timing or GatewayTiming()
        self.admin_socket = folder / ADMIN_SOCKET
        self._admin = AdminClient(self.admin_socket, self.timing.answer)
        self._launcher: Launcher = launcher or ChildLauncher(
            bootstrap, folder, binary=binary, workers=workers, log_level=log_level
        )
        self._leaves = False
        self._process: EnvoyProcess | None = None
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._ready_at = 0.0
        self._log = EnvoyLog()
        self._status = GatewayStatus("starting", since=time.time())

    @property
    def status(self) -> GatewayStatus:
        """The current state of the Envoy process."""
        return self._status

    async def ready(self) -> None:
        """Wait until Envoy accepts requests."""
        await self._ready.wait()

    # ---- run

    async def run(self) -> None:
        """Run Envoy and restart it whenever it exits, until :meth:`drain` or :meth:`stop`.

        Raises:
            GatewayError: Envoy cannot be started, or exited before it was ready for the first time.

        """
        pause = 0.0
        while not self._stopping.is_set():
            self._ready_at = 0.0
            try:
                end = await self._run_once()
            except GatewayError as error:  # even if there are no free file descriptors
                if not self._was_ready():
                    raise
                end = f"could not be started ({error.what})"
            if self._stopping.is_set():
                break
            if not self._status.restarts and not self._was_ready() and not self._launcher.replaces:
                log_end = "; its last log lines: " + " / ".join(self._log.last_lines) if self._log.last_lines else ""
                raise GatewayError(
                    f"Envoy {end} before it was ready{log_end}", "for more detail, set gateway.log_level: debug"
                )
            settled = self._ready_at and time.monotonic() - self._ready_at >= self.timing.settled
            pause = 0.0 if settled else min(max(pause * 2, self.timing.first_pause), self.timing.longest_pause)
            self._set_state("down", pid=0, restarts=self._status.restarts + 1)
            log.error("Envoy %s; %s%s", end, self._launcher.next_step, f" in {pause:.2g} s" if pause else "")
            await asyncio.sleep(pause)
        self._set_state("stopped", pid=0)

    def _was_ready(self) -> bool:
        return self._status.state != "starting"

    def leave(self) -> None:
        """Make Envoy keep running when :meth:`run` is cancelled. Only works if the launcher ``keeps`` Envoy."""
        self._leaves = self._launcher.keeps

    async def _run_once(self) -> str:
        """Run Envoy until it exits and return a description of the exit. Leave no process behind, except a kept one."""
        self._process = process = await self._launcher.start()
        self._set_state("down" if self._status.restarts else "starting", pid=process.pid)
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._launcher.read_log(process, self._log.add), name="log of Envoy")
                watch = group.create_task(self._watch(process), name="readiness of Envoy")
                code = await process.wait()
                watch.cancel()
                await asyncio.wait([reader])
        finally:
            self._ready.clear()
            self._process = None
            if process.returncode is None and not self._leaves:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await _wait_uncancelled(process.wait())
        if code == UNKNOWN_STATUS:
            return "ended"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"

    async def _watch(self, process: EnvoyProcess) -> None:
        """Check regularly whether Envoy responds; kill Envoy if it has not responded for too long."""
        heard = time.monotonic()
        patience = self.timing.start
        while True:
            try:
                live = await self._admin.is_ready()
                if live or self._ready.is_set():
                    heard, patience = time.monotonic(), self.timing.silence
            except (aiohttp.ClientError, TimeoutError, OSError):
                live = False
            if live and not self._ready.is_set() and not self._stopping.is_set():
                self._ready.set()
                self._ready_at = time.monotonic()
                self._set_state("ready", pid=process.pid)
                version = await self._admin.version()
                log.info("Envoy%s is ready", f" {version}" if version else "")
            if time.monotonic() - heard > patience:
                log.error("Envoy has not responded for %.0f s; killing it", patience)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                return
            await asyncio.sleep(self.timing.look if self._ready.is_set() else self.timing.look / 10)

    # ---- stop

    async def drain(self, limit: float) -> int:
        """Shut down gracefully: accept no new connections, wait for active requests, then stop Envoy.

        Args:
            limit: how long to wait for requests to finish, in seconds.

        Returns:
            Number of requests and TCP connections that were still active at the limit.

        """
        self._stopping.set()
        self._log.quiet = True
        process = self._process
        if process is None:
            return 0
        self._set_state("draining", pid=process.pid)
        active = 0
        try:
            async with asyncio.timeout(limit):
                await self._admin.close_listeners()
                while active := await self._admin.active():  # noqa: ASYNC110  # Envoy offers no notification
                    await asyncio.sleep(0.05)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            pass  # stop Envoy in any case
        await self.stop()
        return active

    async def stop(self) -> None:
        """Stop Envoy now, which aborts active requests."""
        self._stopping.set()
        self._log.quiet = True
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self.timing.stop):
                await process.wait()
        except TimeoutError:
            log.warning("Envoy did not exit within %.0f s; killing it", self.timing.stop)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    # ---- admin interface

    async def statistics(self) -> bytes:
        """Return Envoy's metrics in Prometheus's text format.

        Raises:
            GatewayError: Envoy does not respond.

        """
        return await self._admin.get("/stats/prometheus?usedonly")

    async def prometheus(self, pattern: str) -> bytes:
        """Return Envoy's metrics whose names match a regular expression (RE2), in Prometheus's text format.

        Raises:
            GatewayError: Envoy does not respond.

        """
        return await self._admin.get("/stats/prometheus", filter=pattern)

    async def stats(self, pattern: str) -> dict[str, int]:
        """Return Envoy's counters and gauges; see :meth:`pilotage.gateway.admin.AdminClient.stats`.

        Raises:
            GatewayError: Envoy does not respond.

        """
        return await self._admin.stats(pattern)

    async def clusters(self, pattern: str) -> bytes:
        """Return the state of Envoy's clusters and endpoints, as JSON from ``/clusters``.

        Args:
            pattern: regular expression (RE2) for cluster names. Envoy before 1.38 ignores it and returns all clusters.

        Raises:
            GatewayError: Envoy does not respond.

        """
        return await self._admin.get("/clusters", format="json", filter=pattern)

    def _set_state(self, state: State, *, pid: int, restarts: int | None = None) -> None:
        known = self._status
        if known.state in ("draining", "stopped") and state in ("starting", "ready", "down"):
            return
        since = known.since if known.state == state else time.time()
        self._status = GatewayStatus(state, pid, known.restarts if restarts is None else restarts, since)


async def _wait_uncancelled(waiting: Any) -> None:
    """Wait for an exit, even if this task is cancelled. The wait is short, because the process has been killed."""
    task = asyncio.ensure_future(waiting)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
