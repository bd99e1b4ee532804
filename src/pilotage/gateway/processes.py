"""Waits for and stops processes that need not be children of this process. Detects reused process IDs. Linux only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Final, Self

__all__ = ["UNKNOWN_STATUS", "PidfdProcess", "boot_id", "start_time"]

UNKNOWN_STATUS: Final = 256
"""Exit status of a process that is not a child of this one, because its real status cannot be known."""

_STARTED: Final = 19  # proc(5): field 22 of stat; the first two, which end at the parenthesis, are cut off


def boot_id() -> str:
    """Return the ID of the current boot of the machine; ``""`` if it cannot be read."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def start_time(pid: int) -> int:
    """Return when a process started, in clock ticks since the boot; 0 for a zombie or a missing process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return 0 if fields[0] in "ZX" else int(fields[_STARTED])
    except (OSError, ValueError, IndexError):
        return 0


class PidfdProcess:
    """A process, identified by a descriptor (pidfd) that still refers to it after its ID has been reused.

    Attributes:
        pid: its process ID.
        returncode: as in :class:`asyncio.subprocess.Process`; :data:`UNKNOWN_STATUS` for a process that is not our
            child.

    """

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._descriptor = descriptor

    @classmethod
    def open(cls, pid: int, started: int = 0) -> Self | None:
        """Open a process; return ``None`` if it does not exist or its ID belongs to another process.

        Args:
            pid: its process ID.
            started: the expected :func:`start_time`; 0 skips the check, for a child of this process.

        """
        try:
            descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError, ValueError, OverflowError):
            return None
        # Compare after opening: if the ID had been reused before, the start time would differ.
        if started and start_time(pid) != started:
            os.close(descriptor)
            return None
        return cls(pid, descriptor)

    async def wait(self) -> int:
        """Wait until the process has exited; return :attr:`returncode`."""
        if self.returncode is not None:
            return self.returncode
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()  # cancelled when the process has exited
        descriptor = os.dup(self._descriptor)  # a loop has one reader for each descriptor
        loop.add_reader(descriptor, ended.cancel)
        try:
            await asyncio.wait([ended])
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return self._reap()

    def _reap(self) -> int:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = 0, 0
            self.returncode = os.waitstatus_to_exitcode(status) if pid else UNKNOWN_STATUS
            os.close(self._descriptor)
        return self.returncode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def __del__(self) -> None:
        if self.returncode is None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
