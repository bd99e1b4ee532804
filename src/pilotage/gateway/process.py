"""6a. The Envoy process that we start, watch and stop.

Envoy runs as a child with its administration on a unix socket in a private folder. It is started again when it ends or
stops answering, its log goes through ours, and it never outlives us: the kernel kills it when this process dies,
however that happens (Linux; elsewhere a killed pilotage leaves its Envoy behind).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal

import aiohttp
import msgspec

from pilotage.core.errors import GatewayError
from pilotage.gateway.binary import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Gateway", "GatewayStatus", "GatewayTiming"]

log = logging.getLogger(__name__)
envoy_log = logging.getLogger("pilotage.envoy")
access_log = logging.getLogger("pilotage.access")

# Envoy's log: level, logger, text. Of some of it nobody could make anything, and what it refuses is told as a problem.
_LOG_FORMAT: Final = "%l\t%n\t%v"
_NOT_NEWS: Final = (
    "There is no configured limit to the number of allowed active downstream connections",
    "caught ENVOY_SIGTERM",
    "Using deprecated option",
    "is marked as work-in-progress",
    "rejected: ",
)
_LEVELS: Final[Mapping[str, int]] = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.DEBUG,
}

# What a drain waits for: requests (WebSockets are requests that have not ended), and connections of tcp routes.
_ACTIVE: Final = r"^(http\..*\.downstream_rq_active|tcp\..*\.downstream_cx_active)$"
_OURS: Final = "http.admin."  # the very request that asks


class GatewayTiming(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a gateway is with its Envoy. All in seconds.

    Attributes:
        look: time between two looks at whether it answers; while it starts they are ten times as frequent.
        answer: how long it may take to answer.
        silence: without an answer for so long it is killed, and started again.
        start: how long it may take until it takes requests at first.
        first_pause: pause before it is started again when it ended soon after its start; doubles each time.
        longest_pause: up to here.
        settled: after so long it counts as well, and when it ends it is started again without a pause.
        stop: how long it may take to end when it is told to.

    """

    look: float = 1.0
    answer: float = 5.0
    silence: float = 30.0
    start: float = 60.0
    first_pause: float = 0.25
    longest_pause: float = 15.0
    settled: float = 10.0
    stop: float = 5.0


State = Literal["starting", "ready", "down", "draining", "stopped"]


class GatewayStatus(msgspec.Struct, frozen=True):
    """How the Envoy is.

    Attributes:
        state: ``starting`` until it takes requests; ``ready``; ``down`` between two lives; ``draining``; ``stopped``.
        pid: its process, 0 for none.
        restarts: how often it was started again.
        since: when it got into this state, seconds since 1970.

    """

    state: State
    pid: int = 0
    restarts: int = 0
    since: float = 0.0


class Gateway:
    """Keeps one Envoy running. ``run()`` in a task; ``drain()`` to stop; cancelling ``run()`` kills it at once.

    Args:
        bootstrap: Envoy's configuration at its start; the place of its administration is filled in here.
        folder: a private folder for its files and sockets, with a path of at most 90 bytes.
        binary: Envoy.
        workers: how many threads serve requests; 0 for one on each processor.
        log_level: of Envoy, in its own words.
        timing: how patient we are with it.

    Raises:
        GatewayError: its configuration cannot be written.

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
    ) -> None:
        self.folder = folder
        self.timing = timing or GatewayTiming()
        self.admin_socket = folder / "admin.sock"
        self._config = folder / "envoy.json"
        admin = {"address": {"pipe": {"path": str(self.admin_socket), "mode": 0o600}}}
        try:
            self._config.write_text(json.dumps({**bootstrap, "admin": admin}, indent=1))
        except OSError as error:
            remedy = "make room in that folder, or name another one in TMPDIR"
            raise GatewayError(f"{self._config} cannot be written: {error.strerror}", remedy) from error
        self._command = [str(binary), "-c", str(self._config), "--disable-hot-restart", "-l", log_level]
        self._command += ["--log-format", _LOG_FORMAT, "--drain-strategy", "immediate"]
        if workers:
            self._command += ["--concurrency", str(workers)]
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._said: deque[str] = deque(maxlen=5)
        self._status = GatewayStatus("starting", since=time.time())

    @property
    def status(self) -> GatewayStatus:
        """How it is now."""
        return self._status

    async def ready(self) -> None:
        """Wait until it takes requests. Returns at once while it does."""
        await self._ready.wait()

    # ---- for ever

    async def run(self) -> None:
        """Run Envoy, again and again, until :meth:`drain` or :meth:`stop` ends it.

        Raises:
            GatewayError: it cannot be started, or ended before it was ready for the first time.

        """
        pause = 0.0
        while not self._stopping.is_set():
            began = time.monotonic()
            end = await self._live()
            if self._stopping.is_set():
                break
            if not self._status.restarts and not self._was_ready():
                said = "; it said: " + " / ".join(self._said) if self._said else ""
                raise GatewayError(f"Envoy {end} before it was ready{said}", "run it by hand with the same file to see")
            settled = time.monotonic() - began >= self.timing.settled
            pause = 0.0 if settled else min(max(pause * 2, self.timing.first_pause), self.timing.longest_pause)
            self._become("down", pid=0, restarts=self._status.restarts + 1)
            log.error("Envoy %s; starting it again%s", end, f" in {pause:.2g} s" if pause else "")
            await asyncio.sleep(pause)
        self._become("stopped", pid=0)

    def _was_ready(self) -> bool:
        return self._status.state != "starting"

    async def _live(self) -> str:
        """Run Envoy once, and return how it ended, for people. However this ends, so has Envoy."""
        self.admin_socket.unlink(missing_ok=True)
        process = await self._start()
        self._process = process
        try:
            async with asyncio.TaskGroup() as group:
                readers = [
                    group.create_task(_read(process.stderr, self._envoy_says), name="log of Envoy"),
                    group.create_task(_read(process.stdout, access_log.info), name="access log of Envoy"),
                ]
                watch = group.create_task(self._watch(process), name="look at Envoy")
                code = await process.wait()
                watch.cancel()
                await asyncio.wait(readers, timeout=1)  # what it said last; a grandchild could hold the pipes open
                for reader in readers:
                    reader.cancel()
        finally:
            self._ready.clear()
            self._process = None
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await _unhurt(process.wait())
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    async def _start(self) -> asyncio.subprocess.Process:
        try:
            process = await asyncio.create_subprocess_exec(
                *die_with_parent(self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                process_group=0,  # Ctrl-C on a terminal is for us; we stop Envoy in good order
                limit=1 << 20,
            )
        except OSError as error:
            raise GatewayError(f"Envoy cannot be started: {error.strerror or error}", self._command[0]) from error
        state: State = "down" if self._status.restarts else "starting"
        self._become(state, pid=process.pid)
        return process

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Look whether Envoy answers; kill it when it has not for too long."""
        heard = time.monotonic()
        patience = self.timing.start
        async with self._admin() as admin:
            while True:
                try:
                    async with admin.get("/ready") as answer:
                        live = answer.status == 200
                    if live or self._ready.is_set():
                        heard, patience = time.monotonic(), self.timing.silence
                except (aiohttp.ClientError, TimeoutError, OSError):
                    live = False
                if live and not self._ready.is_set() and not self._stopping.is_set():
                    self._ready.set()
                    self._become("ready", pid=process.pid)
                    log.info("Envoy is ready")
                if time.monotonic() - heard > patience:
                    log.error("Envoy has not answered for %.0f s: killing it", patience)
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    return
                await asyncio.sleep(self.timing.look if self._ready.is_set() else self.timing.look / 10)

    # ---- the end

    async def drain(self, limit: float) -> int:
        """Stop in good order: take no new connections, let requests end, then end Envoy.

        Args:
            limit: how long to wait for requests to end, in seconds.

        Returns:
            How many requests and tcp connections were cut off at the limit.

        """
        self._stopping.set()
        process = self._process
        if process is None:
            return 0
        self._become("draining", pid=process.pid)
        active = 0
        try:
            async with asyncio.timeout(limit), self._admin() as admin:
                # The first has answers close their connections (HTTP/2: GOAWAY), the second closes the listeners.
                for command in ("/drain_listeners?graceful&skip_exit", "/drain_listeners"):
                    async with admin.post(command):
                        pass
                while active := await _active(admin):  # noqa: ASYNC110  # Envoy has no way to be waited for
                    await asyncio.sleep(0.05)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            pass  # it ends either way
        await self.stop()
        return active

    async def stop(self) -> None:
        """End Envoy now; requests under way are cut off."""
        self._stopping.set()
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self.timing.stop):
                await process.wait()
        except TimeoutError:
            log.warning("Envoy did not end within %.0f s: killing it", self.timing.stop)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    # ---- what it tells

    async def statistics(self) -> bytes:
        """Return Envoy's own figures, as Prometheus reads them.

        Raises:
            GatewayError: it does not answer.

        """
        return await self._tells("/stats/prometheus?usedonly")

    async def clusters(self, pattern: str) -> bytes:
        """Return how Envoy's clusters and their endpoints are, as the JSON of its ``/clusters``.

        Args:
            pattern: regular expression (RE2) of their names; an Envoy older than 1.38 tells of all.

        Raises:
            GatewayError: it does not answer.

        """
        return await self._tells("/clusters", format="json", filter=pattern)

    async def _tells(self, path: str, **query: str) -> bytes:
        try:
            async with self._admin() as admin, admin.get(path, params=query) as answer:
                return await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise GatewayError("Envoy does not answer", "it is starting, or has just ended") from error

    def _admin(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            "http://envoy",
            connector=aiohttp.UnixConnector(str(self.admin_socket)),
            timeout=aiohttp.ClientTimeout(total=self.timing.answer),
            trust_env=False,
        )

    def _envoy_says(self, line: str) -> None:
        level, _, rest = line.partition("\t")
        name, tab, text = rest.partition("\t")
        if not tab or level not in _LEVELS:  # the further lines of a text, or said before the log is set up
            level, name, text = "info", "", line
        if not text.strip():
            return
        self._said.append(text.strip()[:500])
        quiet = self._stopping.is_set() or any(known in text for known in _NOT_NEWS)
        severity = _LEVELS[level] if not quiet or _LEVELS[level] >= logging.ERROR else logging.DEBUG
        envoy_log.log(severity, "%s%s", f"{name}: " if name else "", text)

    def _become(self, state: State, *, pid: int, restarts: int | None = None) -> None:
        known = self._status
        if known.state in ("draining", "stopped") and state in ("starting", "ready", "down"):
            return
        since = known.since if known.state == state else time.time()
        self._status = GatewayStatus(state, pid, known.restarts if restarts is None else restarts, since)


async def _read(stream: asyncio.StreamReader | None, tell: Callable[[str], object]) -> None:
    """Hand on line by line what a process writes, to the end. What is no line within a megabyte is dropped."""
    assert stream is not None  # noqa: S101  # asked for at the start
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue
        if not line:
            return
        tell(line.decode(errors="replace").rstrip("\r\n"))


async def _active(admin: aiohttp.ClientSession) -> int:
    async with admin.get("/stats", params={"filter": _ACTIVE, "format": "json"}) as answer:
        figures = msgspec.json.decode(await answer.read(), type=_Figures)
    return sum(stat.value for stat in figures.stats if not stat.name.startswith(_OURS))


class _Figure(msgspec.Struct):
    name: str = ""
    value: int = 0


class _Figures(msgspec.Struct):
    stats: list[_Figure] = []


async def _unhurt(waiting: Any) -> None:
    """Wait to the end, also when this task is cancelled meanwhile: what is waited for has been killed."""
    task = asyncio.ensure_future(waiting)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
