"""Reloads the configuration and certificates of a running daemon, and applies only what changed."""

from __future__ import annotations

import asyncio
import glob
import logging
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.errors import ConfigError, PilotageError
from pilotage.core.filewatch import watch_files, watch_matching
from pilotage.core.problems import Problem
from pilotage.daemon.settings import changed_settings, check_ports
from pilotage.xds.client_authorities import read_profile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pilotage.daemon.settings import DaemonSettings
    from pilotage.xds.server import AdsServer

__all__ = ["Reloader", "log_warnings"]

log = logging.getLogger(__name__)

_EXPIRY: Final = 30.0  # seconds between two looks at whether a revocation list has expired


def log_warnings(settings: DaemonSettings, previous: DaemonSettings | None = None) -> None:
    """Log the warnings about the configuration, except those that the previous settings already had."""
    for problem in settings.problems:
        if previous is None or problem not in previous.problems:
            log.warning("%s", problem)


class Reloader:
    """Keeps the daemon's settings up to date with the configuration file.

    A configuration with errors is rejected as a whole; the daemon continues with the previous one.

    Args:
        settings: the initial settings.
        rebuild: returns the settings of the current configuration; raises ConfigError.

    Attributes:
        settings: the active settings.
        problems: why the last reload failed; empty after a successful reload.
        results: number of reloads by result, ``taken`` or ``refused``.

    """

    def __init__(self, settings: DaemonSettings, rebuild: Callable[[], DaemonSettings]) -> None:
        self.settings = settings
        self.problems: tuple[Problem, ...] = ()
        self.results = {"taken": 0, "refused": 0}
        self._at_start = settings
        self._rebuild = rebuild
        self._requested = asyncio.Event()
        self._changed = asyncio.Event()

    def request(self) -> None:
        """Reload the configuration soon."""
        self._requested.set()

    async def requested(self) -> None:
        """Wait for the next request."""
        await self._requested.wait()
        self._requested.clear()

    async def reload(
        self,
        configure: Callable[[DaemonSettings], None],
        apply: Callable[[DaemonSettings, DaemonSettings], Awaitable[None]],
    ) -> None:
        """Read the configuration and apply it, or log why it is rejected.

        Args:
            configure: applies the settings for Envoys; raises ConfigError to reject them.
            apply: applies everything else; called with the previous and the new settings.

        """
        try:
            settings = msgspec.structs.replace(self._rebuild(), held_ports=self._at_start.start_ports)
            if settings.with_gateway:
                check_ports(settings, held=self.settings)
            configure(settings)
        except Exception as error:  # noqa: BLE001  # the daemon and its routes must survive any error
            self.results["refused"] += 1
            self._report("configuration rejected; the previous one stays active", error)
            return
        self.results["taken"] += 1
        self.problems = ()
        previous, self.settings = self.settings, settings
        log_warnings(settings, previous)
        self._changed.set()
        try:
            await apply(previous, settings)
        except Exception as error:  # noqa: BLE001
            self._report("configuration not applied completely", error)
        if later := changed_settings(self._at_start, settings):
            log.warning("changed, but takes effect only after a restart: %s", ", ".join(later))

    def _report(self, result: str, error: Exception) -> None:
        if isinstance(error, ConfigError):
            self.problems = error.problems
        else:
            text = str(error) if isinstance(error, PilotageError) else f"internal error: {error!r}"
            self.problems = (
                Problem(message=text, hint="" if isinstance(error, PilotageError) else "please report it"),
            )
            log.debug(result, exc_info=error)
        for problem in self.problems:
            level = logging.ERROR if problem.severity == "error" else logging.WARNING
            log.log(level, "%s: %s", result, problem)

    async def watch_config(self) -> None:
        """Request a reload whenever the configuration file, or a file that it names, changes, except certificates."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_file())
            group.create_task(self._watch_named_files())
            group.create_task(self._watch_revocation_lists())

    async def _watch_file(self) -> None:
        if self.settings.file:
            async for _ in watch_files(self.settings.file):
                self.request()

    async def _watch_named_files(self) -> None:
        def patterns() -> list[str]:
            profiles = self.settings.options.client_profiles
            authorities = [name for it in profiles for name in (*it.ca_files, *it.crl_files)]
            return [*self.settings.middleware_files, *map(glob.escape, authorities)]

        async for _ in watch_matching(patterns):
            self.request()

    async def _watch_revocation_lists(self) -> None:
        """Request a reload when a list expires. Envoy then refuses its clients anyway, but nobody would know why."""
        requested: tuple[str, ...] = ()
        while True:
            await asyncio.sleep(_EXPIRY)
            profiles = [it for it in self.settings.options.client_profiles if it.crl_files]
            if not profiles:
                continue
            found = await asyncio.to_thread(lambda them: tuple(read_profile(it)[0].problem for it in them), profiles)
            if found != tuple(it.problem for it in profiles) and found != requested:
                requested = found
                self.request()

    async def watch_certificates(self, ads: AdsServer) -> None:
        """Reload certificates whenever their files change. A new configuration can name other files to watch."""
        while True:
            self._changed.clear()
            pairs = self.settings.options.certificates
            names = [name for pair in pairs for name in (pair.certificate, pair.key)]
            watching = asyncio.create_task(_reload_certificates(ads, names))
            try:
                while pairs == self.settings.options.certificates:
                    await self._changed.wait()
                    self._changed.clear()
            finally:
                watching.cancel()
                await asyncio.wait([watching])


async def _reload_certificates(ads: AdsServer, files: list[str]) -> None:
    async for _ in watch_files(*files):
        try:
            ads.reload_certificates()
        except ConfigError as error:
            log.error("new certificates rejected; the previous ones stay active: %s", error)  # noqa: TRY400  # for operators
        else:
            log.info("certificates reloaded")
