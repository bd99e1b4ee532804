"""Starts Envoy as a child process that dies with this process."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, Protocol

from pilotage.gateway.binary import die_with_parent
from pilotage.gateway.capacity import failure
from pilotage.gateway.client_limit import envoy_environment
from pilotage.gateway.envoy_log import LOG_FORMAT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["ADMIN_SOCKET", "ChildLauncher", "EnvoyProcess", "Launcher", "envoy_command", "write_config"]

ADMIN_SOCKET: Final = "admin.sock"
_LAST_LINES: Final = 1.0  # seconds to read them after Envoy has exited; a grandchild could keep the pipe open


class EnvoyProcess(Protocol):
    """An Envoy process, with a part of the interface of :class:`asyncio.subprocess.Process`."""

    @property
    def pid(self) -> int:
        """The process ID."""
        ...

    @property
    def returncode(self) -> int | None:
        """The exit status, negative if a signal ended the process; ``None`` while the process runs."""
        ...

    async def wait(self) -> int:
        """Wait until the process exits; return its exit status."""
        ...

    def terminate(self) -> None:
        """Send SIGTERM."""
        ...

    def kill(self) -> None:
        """Send SIGKILL."""
        ...


class Launcher(Protocol):
    """Starts Envoy."""

    @property
    def keeps(self) -> bool:
        """Whether Envoy keeps running when this process ends."""
        ...

    @property
    def replaces(self) -> bool:
        """Whether the last Envoy took over from another Envoy. If the last one fails, a fresh start may succeed."""
        ...

    @property
    def next_step(self) -> str:
        """Words for the log that say what pilotage does after Envoy has exited."""
        ...

    async def start(self) -> EnvoyProcess:
        """Start Envoy.

        Raises:
            GatewayError: Envoy cannot be started.

        """
        ...

    async def read_log(self, process: EnvoyProcess, handle: Callable[[str], object]) -> None:
        """Call ``handle`` with each line of the log, until the process has exited or the task is cancelled."""
        ...


def write_config(file: Path, bootstrap: Mapping[str, Any], admin: Path) -> None:
    """Write Envoy's initial configuration to ``file``, with an admin interface on the unix socket ``admin``.

    Raises:
        GatewayError: the file cannot be written.

    """
    added = {"address": {"pipe": {"path": str(admin), "mode": 0o600}}}
    try:
        file.write_text(json.dumps({**bootstrap, "admin": added}, indent=1))
    except OSError as error:
        remedy = "free some space there, or set TMPDIR to another folder"
        raise failure(f"cannot write {file}", error, remedy) from error


def envoy_command(binary: Path, config: Path, *, workers: int, log_level: str) -> list[str]:
    """Return the part of Envoy's command line that does not depend on how it is started."""
    command = [str(binary), "-c", str(config), "-l", log_level, "--log-format", LOG_FORMAT]
    command += ["--drain-strategy", "immediate"]
    return [*command, "--concurrency", str(workers)] if workers else command


class ChildLauncher:
    """Starts Envoy as a child, which the kernel kills when this process dies for any reason (Linux only).

    Args:
        bootstrap: Envoy's initial configuration; the admin interface is added.
        folder: folder for Envoy's files and the socket of the admin interface.
        binary: the Envoy binary.
        workers: number of worker threads; 0 means one per CPU.
        log_level: one of Envoy's log levels.

    Raises:
        GatewayError: the configuration cannot be written.

    """

    keeps = False
    replaces = False
    next_step = "restarting it"

    def __init__(
        self, bootstrap: Mapping[str, Any], folder: Path, *, binary: Path, workers: int, log_level: str
    ) -> None:
        config = folder / "envoy.json"
        self._admin = folder / ADMIN_SOCKET
        write_config(config, bootstrap, self._admin)
        self._command = envoy_command(binary, config, workers=workers, log_level=log_level)

    async def start(self) -> asyncio.subprocess.Process:
        """Start Envoy; see :class:`Launcher`."""
        self._admin.unlink(missing_ok=True)
        try:
            return await asyncio.create_subprocess_exec(
                *die_with_parent([*self._command, "--disable-hot-restart"]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=None,  # inherited, so that Envoy itself writes the access log; it writes nothing else there
                stderr=asyncio.subprocess.PIPE,
                env=envoy_environment(),
                process_group=0,  # Ctrl-C on the terminal must only reach pilotage, which drains Envoy
                limit=1 << 20,
            )
        except OSError as error:
            raise failure("cannot start Envoy", error, f"check {self._command[0]}") from error

    async def read_log(self, process: EnvoyProcess, handle: Callable[[str], object]) -> None:
        """Pass on Envoy's log; see :class:`Launcher`. Lines longer than a megabyte are dropped."""
        assert isinstance(process, asyncio.subprocess.Process)  # noqa: S101  # what start() returns
        reading = asyncio.ensure_future(_read(process.stderr, handle))
        try:
            await process.wait()
            await asyncio.wait([reading], timeout=_LAST_LINES)
        finally:
            reading.cancel()


async def _read(stream: asyncio.StreamReader | None, handle: Callable[[str], object]) -> None:
    assert stream is not None  # noqa: S101  # we pass PIPE
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue
        if not line:
            return
        handle(line.decode(errors="replace").rstrip("\r\n"))
