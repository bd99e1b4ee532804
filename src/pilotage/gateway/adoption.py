"""Starts an Envoy that outlives this process, or adopts the one that an earlier process left running.

Envoy runs in a session of its own, so signals to this process's group do not reach it. A file in the folder records
Envoy's process ID, its start time, and a hash of the settings that it was started with. If these settings still apply,
the running Envoy is adopted. If not, for example because the binary was replaced, a new Envoy takes over the listening
sockets (Envoy's hot restart); the old one finishes its requests and exits after the drain time. Linux only.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

from pilotage.core.errors import GatewayError
from pilotage.gateway.admin import AdminClient, component_levels
from pilotage.gateway.capacity import failure
from pilotage.gateway.client_limit import envoy_environment
from pilotage.gateway.launch import ADMIN_SOCKET, envoy_command, write_config
from pilotage.gateway.log_tail import LogTail, make_pipe
from pilotage.gateway.processes import PidfdProcess, boot_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pilotage.gateway.launch import EnvoyProcess

__all__ = ["OUTPUT", "KeepingLauncher", "Record", "end_kept", "read_record"]

log = logging.getLogger(__name__)

OUTPUT: Final = "output.pipe"
"""Name of the pipe in the folder for Envoy's standard output; see :mod:`pilotage.gateway.log_tail`."""

_RECORD: Final = "envoy.pid"
_LOG: Final = "envoy.log"
_HOT_SOCKET: Final = "h"
_SHARED_MEMORY: Final = "/dev/shm/envoy_shared_memory_"  # noqa: S108  # Envoy chooses the name
_MOST_IDS: Final = 100_000_000  # Envoy multiplies the ID by ten, in 32 bits
_ANSWER: Final = 5.0  # seconds that an Envoy may take to identify itself before it is replaced
_READY: Final = 10.0  # seconds that Envoy may take to get its configuration before a new one takes over
_CHECK: Final = 30.0  # seconds that a new binary may take to check the configuration
_GRACE: Final = 10.0  # seconds after the drain time until an old Envoy that has not exited is killed

# Runs before Envoy. Envoy terminates itself when the process that was its parent at its start dies. So a grandchild
# becomes Envoy, once the child has exited and init (or a subreaper) has become the grandchild's parent.
# The grandchild writes the record itself, so no Envoy ever runs without one.
# It imports little, because all clients wait for it when Envoy has crashed.
_LAUNCHER: Final = """
import os, sys, time
os.setsid()
child = os.getpid()
done, written = os.pipe()
if os.fork():
    os.close(written)
    os._exit(0 if os.read(done, 1) else 1)
with open("/proc/self/stat") as file:
    started = int(file.read().rpartition(")")[2].split()[19])
with open(sys.argv[2] + ".new", "w") as file:
    file.write(sys.argv[1] % (os.getpid(), started))
os.rename(sys.argv[2] + ".new", sys.argv[2])
os.write(written, b".")
while os.getppid() == child:
    time.sleep(0.001)
os.closerange(3, 1 << 20)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Identifies the process of a kept Envoy and the settings that it was started with.

    Attributes:
        pid, started, boot: Envoy's process ID, its start time in clock ticks since the boot, and the ID of this boot.
        epoch: how many hot restarts preceded this Envoy.
        base_id: Envoy's base ID, which it shares with its predecessors.
        fingerprint: hash of the settings that cannot be changed while Envoy runs.
        older: process IDs and start times of earlier Envoys, which may still be finishing requests.

    """

    pid: int
    started: int
    boot: str
    epoch: int
    base_id: int
    fingerprint: str
    older: tuple[tuple[int, int], ...] = ()

    def process(self) -> PidfdProcess | None:
        """Return the recorded process; ``None`` if it has exited."""
        return PidfdProcess.open(self.pid, self.started) if self._is_of_this_boot else None

    def older_processes(self) -> list[PidfdProcess]:
        """Return the processes of earlier Envoys that are still running."""
        found = [PidfdProcess.open(*each) for each in self.older] if self._is_of_this_boot else []
        return [process for process in found if process is not None]

    @property
    def _is_of_this_boot(self) -> bool:
        return self.boot == boot_id() and self.pid > 1 and self.started > 0


def read_record(folder: Path) -> Record | None:
    """Return the record of a kept Envoy from its folder; ``None`` if the record is missing or unreadable."""
    try:
        return msgspec.json.decode((folder / _RECORD).read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return None


def _admin_of(folder: Path, epoch: int) -> Path:
    return folder / f"admin-{epoch}.sock"


class KeepingLauncher:
    """Starts, adopts and replaces an Envoy that outlives this process; see :class:`pilotage.gateway.launch.Launcher`.

    Args:
        bootstrap: Envoy's initial configuration; the admin interface is added.
        folder: a private folder that outlives this process, for files and sockets; its path has at most 80 bytes.
        binary: the Envoy binary.
        workers: number of worker threads; 0 means one per CPU.
        log_level: one of Envoy's log levels.
        drain: seconds that an Envoy has to finish its requests after another Envoy has taken over.

    Attributes:
        adopted: whether the Envoy that runs now was started by an earlier process.
        replaces: whether the Envoy that runs now took over from another Envoy.

    Raises:
        GatewayError: a file in the folder cannot be written.

    """

    keeps = True
    next_step = "restarting it"

    def __init__(
        self, bootstrap: Mapping[str, Any], folder: Path, *, binary: Path, workers: int, log_level: str, drain: float
    ) -> None:
        self.adopted = False
        self.replaces = False
        self._bootstrap = bootstrap
        self._folder = folder
        self._binary = binary
        self._workers = workers
        self._log_level = log_level
        self._drain = drain
        self._fingerprint = _fingerprint(bootstrap, binary, workers)
        self._running = False
        self._endings: set[asyncio.Task[None]] = set()
        try:
            make_pipe(folder / OUTPUT)
            (folder / _LOG).touch(0o600)
        except OSError as error:
            raise failure(f"cannot write to {folder}", error, "free some space there") from error

    async def start(self) -> EnvoyProcess:
        """Adopt the running Envoy, let a new Envoy take over from it, or start one if none is running."""
        record = read_record(self._folder)
        process = record.process() if record is not None else None
        self.adopted = self.replaces = False
        if record is None or process is None or self._running:  # ours has just ended
            return await self._start_anew(record)
        self._running = True
        admin = AdminClient(_admin_of(self._folder, record.epoch), _ANSWER)
        if not await admin.is_epoch(record.epoch):
            log.warning("the Envoy with process ID %d does not respond; starting another", record.pid)
        elif record.fingerprint == self._fingerprint or not await self._is_accepted(record.epoch + 1):
            return await self._adopt(record, process, admin)
        elif await self._can_take_over(admin):
            return await self._take_over(record, process)
        else:
            log.warning("a new Envoy cannot take over from the running one; stopping the running one first")
            await _finish(process, admin, self._drain)
        return await self._start_anew(record)

    async def read_log(self, process: EnvoyProcess, handle: Callable[[str], object]) -> None:
        """Pass on the lines of Envoy's log, including lines written before this process started."""
        tail = LogTail(self._folder / _LOG, handle)
        following = asyncio.ensure_future(tail.run())
        try:
            await process.wait()
        finally:
            following.cancel()
            tail.read()

    async def _adopt(self, record: Record, process: PidfdProcess, admin: AdminClient) -> PidfdProcess:
        for old in record.older_processes():
            self._end_later(old)
        self._link_admin(record.epoch)
        with contextlib.suppress(GatewayError):
            await admin.set_log_level(self._log_level)
        self.adopted = True
        log.info("adopted the Envoy with process ID %d", record.pid)
        return process

    async def _is_accepted(self, epoch: int) -> bool:
        """Return whether the new binary accepts the new configuration. If not, the running Envoy is kept."""
        config = self._write_config(epoch)
        try:
            code, output = await _run(str(self._binary), "--mode", "validate", "-c", str(config), "-l", "error")
        except (OSError, TimeoutError) as error:
            code, output = 1, str(error)
        if code:
            log.error("the new Envoy rejects its configuration, so the old one keeps running: %s", output[-500:])
        return not code

    async def _can_take_over(self, admin: AdminClient) -> bool:
        try:
            await _wait_until_ready(admin)  # an Envoy that has itself just taken over refuses until then
            version = (await admin.get("/hot_restart_version")).decode(errors="replace").strip()
            _, ours = await _run(str(self._binary), "--hot-restart-version")
        except (GatewayError, aiohttp.ClientError, OSError, TimeoutError):
            return False
        return version in ours.split() and version != "disabled"  # the output may begin with warnings

    async def _take_over(self, record: Record, process: PidfdProcess) -> PidfdProcess:
        older = [(record.pid, record.started), *((old.pid, old_started) for old, old_started in _alive(record))]
        log.info("a new Envoy is taking over from the one with process ID %d", record.pid)
        try:
            new = await self._launch(record.epoch + 1, record.base_id, tuple(older))
        except GatewayError as error:
            log.error("the new Envoy could not take over; stopping the old one before starting a new one: %s", error)  # noqa: TRY400  # for operators
            return await self._start_anew(read_record(self._folder) or record)
        self._end_later(process)
        self.replaces = True
        return new

    async def _start_anew(self, record: Record | None) -> PidfdProcess:
        """Kill the Envoys in the record, because a new one would share its ports with them, and start a new one."""
        if record is not None:
            last = record.process()
            for old in [*record.older_processes(), *([last] if last is not None else [])]:
                old.kill()
                await old.wait()
            _clear(self._folder, record)
        self._running = True
        return await self._launch(0, 1 + secrets.randbelow(_MOST_IDS), ())

    async def _launch(self, epoch: int, base_id: int, older: tuple[tuple[int, int], ...]) -> PidfdProcess:
        config = self._write_config(epoch)
        command = envoy_command(self._binary, config, workers=self._workers, log_level=self._log_level)
        if levels := component_levels(self._log_level):
            command += ["--component-log-level", ",".join(levels)]
        command += ["--base-id", str(base_id), "--restart-epoch", str(epoch)]
        command += ["--socket-path", str(self._folder / _HOT_SOCKET), "--socket-mode", "600"]
        command += ["--parent-shutdown-time-s", str(max(1, round(self._drain)))]
        record = {"boot": boot_id(), "epoch": epoch, "base_id": base_id, "fingerprint": self._fingerprint}
        template = '{"pid":%d,"started":%d,' + json.dumps({**record, "older": older}).replace("%", "%%")[1:]
        appended = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        try:
            pid = os.posix_spawn(  # noqa: ASYNC221  # it returns at once
                sys.executable,
                [*(sys.executable, "-I", "-S", "-c", _LAUNCHER), template, str(self._folder / _RECORD), *command],
                envoy_environment(),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(self._folder / OUTPUT), os.O_RDWR | os.O_NONBLOCK, 0),
                    (os.POSIX_SPAWN_OPEN, 2, str(self._folder / _LOG), appended, 0o600),
                ],
                setsigmask=(),
            )
        except OSError as error:
            raise failure("cannot start Envoy", error, f"check {self._binary}") from error
        child = PidfdProcess.open(pid)
        if child is None:
            raise GatewayError("cannot follow Envoy's process", "remove gateway.keep, which needs Linux 5.3 or later")
        code = await child.wait()
        process = None
        if not code:
            written = read_record(self._folder)
            process = PidfdProcess.open(written.pid, written.started) if written is not None else None
        if process is None:
            tail = (self._folder / _LOG).read_text(errors="replace")[-300:].strip()
            raise GatewayError(f"Envoy exited at once{': ' if tail else ''}{tail}", f"check {self._binary}")
        self._link_admin(epoch)
        return process

    def _write_config(self, epoch: int) -> Path:
        config = self._folder / f"envoy-{epoch}.json"
        write_config(config, self._bootstrap, _admin_of(self._folder, epoch))
        return config

    def _link_admin(self, epoch: int) -> None:
        """Point the symbolic link for the admin interface at the socket of the Envoy with this epoch."""
        fresh = self._folder / f"{ADMIN_SOCKET}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(_admin_of(self._folder, epoch).name)
        fresh.replace(self._folder / ADMIN_SOCKET)

    def _end_later(self, process: PidfdProcess) -> None:
        task = asyncio.ensure_future(_end_within(process, self._drain + _GRACE))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)


def _clear(folder: Path, record: Record) -> None:
    """Remove the files, sockets and shared memory that exited Envoys left behind."""
    for pattern in (f"{_HOT_SOCKET}_*", "admin-*.sock", "envoy-*.json"):
        for left in folder.glob(pattern):
            left.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        Path(f"{_SHARED_MEMORY}{record.base_id * 10}").unlink(missing_ok=True)


async def end_kept(folder: Path, drain: float) -> bool:
    """Stop a kept Envoy, once its requests have finished or after ``drain`` seconds.

    Returns:
        Whether an Envoy was running.

    """
    record = read_record(folder)
    if record is None:
        return False
    process = record.process()
    old = record.older_processes()
    if process is not None:
        await _finish(process, AdminClient(_admin_of(folder, record.epoch), _ANSWER), drain)
    for each in old:
        await _end_within(each, 0.0)
    (folder / _RECORD).unlink(missing_ok=True)
    _clear(folder, record)
    return process is not None


async def _wait_until_ready(admin: AdminClient) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_READY):
            while not await admin.is_ready():  # noqa: ASYNC110  # Envoy offers no notification
                await asyncio.sleep(0.1)


async def _finish(process: PidfdProcess, admin: AdminClient, limit: float) -> None:
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError, ValueError):
        async with asyncio.timeout(limit):
            await admin.close_listeners()
            while await admin.active():  # noqa: ASYNC110  # Envoy offers no notification
                await asyncio.sleep(0.05)
    process.terminate()
    await _end_within(process, _ANSWER)


async def _end_within(process: PidfdProcess, limit: float) -> None:
    """Wait until a process exits; kill it if it is still running after ``limit`` seconds."""
    try:
        async with asyncio.timeout(limit):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _alive(record: Record) -> list[tuple[PidfdProcess, int]]:
    starts = dict(record.older)
    return [(process, starts[process.pid]) for process in record.older_processes()]


def _fingerprint(bootstrap: Mapping[str, Any], binary: Path, workers: int) -> str:
    """Return a hash of the settings that cannot be changed while Envoy runs. It changes if the binary is replaced."""
    found = binary.resolve().stat()
    parts = [bootstrap, str(binary.resolve()), found.st_size, found.st_mtime_ns, workers]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


async def _run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=envoy_environment(),
    )
    try:
        async with asyncio.timeout(_CHECK):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(errors="replace").strip()
