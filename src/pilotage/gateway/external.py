"""Follows an Envoy that another process starts and restarts: ``pilotage envoy`` in a unit or container of its own."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import aiohttp

from pilotage.gateway.admin import AdminClient
from pilotage.gateway.launch import ADMIN_SOCKET
from pilotage.gateway.processes import UNKNOWN_STATUS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pilotage.gateway.launch import EnvoyProcess

__all__ = ["ExternalLauncher"]

log = logging.getLogger(__name__)

_INTERVAL: Final = 0.1
_PATIENCE: Final = 5.0  # seconds until the log says what is missing
_ANSWER: Final = 5.0


class ExternalLauncher:
    """Waits for an Envoy that someone else starts; see :class:`pilotage.gateway.launch.Launcher`.

    Envoy may run in another PID namespace, so only the admin interface shows whether it is running.

    Args:
        folder: the folder with the socket of Envoy's admin interface, which this process and Envoy share.

    """

    keeps = True
    replaces = False
    next_step = "waiting until it runs again"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._admin = AdminClient(folder / ADMIN_SOCKET, _ANSWER)

    async def start(self) -> EnvoyProcess:
        """Wait until Envoy's admin interface responds."""
        loop = asyncio.get_running_loop()
        warn_at = loop.time() + _PATIENCE
        while not await _responds(self._admin):
            if loop.time() > warn_at:
                log.warning("no Envoy responds in %s; start it with: pilotage envoy", self._folder)
                warn_at = float("inf")
            await asyncio.sleep(_INTERVAL)
        return _ExternalProcess(self._admin)

    async def read_log(self, process: EnvoyProcess, _handle: Callable[[str], object]) -> None:
        """Only wait until Envoy has exited. The process that starts Envoy reads Envoy's log."""
        await process.wait()


class _ExternalProcess:
    pid = 0

    def __init__(self, admin: AdminClient) -> None:
        self.returncode: int | None = None
        self._admin = admin

    async def wait(self) -> int:
        """Wait until nothing listens on the admin socket."""
        while self.returncode is None:
            await asyncio.sleep(_INTERVAL)
            if not await _responds(self._admin):
                self.kill()
        return UNKNOWN_STATUS

    def terminate(self) -> None:
        """Stop following Envoy."""
        self.kill()

    def kill(self) -> None:
        """Stop following Envoy, without killing it: another process started it."""
        self.returncode = UNKNOWN_STATUS


async def _responds(admin: AdminClient) -> bool:
    """Return whether Envoy is running. An Envoy that accepts connections but does not answer counts as running."""
    try:
        await admin.is_ready()
    except TimeoutError:
        return True
    except (aiohttp.ClientError, OSError):
        return False
    return True
