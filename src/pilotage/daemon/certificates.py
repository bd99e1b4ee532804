"""Obtains certificates while the daemon runs. Without ``autocert``, imports none of the packages for this."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilotage.certificates.status import CertificateTotals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pilotage.certificates.manager import CertificateManager
    from pilotage.certificates.requests import RenewalRequests
    from pilotage.certificates.settings import AutocertSettings
    from pilotage.certificates.status import CertificateEvent, CertificateStatus
    from pilotage.core.problems import Problem
    from pilotage.daemon.settings import DaemonSettings
    from pilotage.table.self_signed import SelfSigned
    from pilotage.table.table import Table
    from pilotage.xds.server import AdsServer

__all__ = ["CertificateKeeper", "certificate_folder", "start_certificates"]

_SYSTEM: Final = "/var/lib/pilotage"


def certificate_folder(settings: AutocertSettings, env: Mapping[str, str]) -> Path:
    """Return the folder for certificates: the configured one, or else ``certificates`` in the folder for state.

    The folder for state is ``STATE_DIRECTORY``, which systemd sets, ``/var/lib/pilotage`` for root, and
    ``~/.local/state/pilotage`` for other users.
    """
    if settings.folder:
        return Path(settings.folder)
    state = env.get("STATE_DIRECTORY", "").partition(":")[0]
    if not state and os.geteuid() == 0:
        state = _SYSTEM
    if not state:
        state = str(Path(env.get("XDG_STATE_HOME") or Path(env.get("HOME", "~"), ".local", "state"), "pilotage"))
    return Path(state) / "certificates"


class CertificateKeeper:
    """Runs the certificate manager as soon as the configuration asks for certificates.

    Args:
        ads: the xDS server, whose Envoys answer challenges and serve the certificates.
        settings: the daemon's settings.
        env: the environment, which decides where certificates are kept.

    Attributes:
        on_event: functions that are called with each event of a certificate.

    """

    def __init__(self, ads: AdsServer, settings: DaemonSettings, env: Mapping[str, str]) -> None:
        self.on_event: list[Callable[[CertificateEvent], object]] = []
        self._ads = ads
        self._env = env
        self._settings = settings.autocert
        self._table: Table | None = None
        self._manager: CertificateManager | None = None
        self._requests: RenewalRequests | None = None
        self._host_problems: tuple[Problem, ...] = ()
        self._wanted = asyncio.Event()
        ads.targets.on_touched.append(self._follow)
        if self._settings.entries:
            self._create()

    def _create(self) -> None:
        from pilotage.certificates.manager import CertificateManager  # noqa: PLC0415  # not needed without autocert
        from pilotage.certificates.requests import RenewalRequests  # noqa: PLC0415

        folder = certificate_folder(self._settings, self._env)
        self._manager = CertificateManager(self._settings, folder, self._ads.certificates, self._hosts)
        self._manager.on_event = self.on_event
        self._requests = RenewalRequests(self._manager)
        self._wanted.set()

    def configure(self, settings: DaemonSettings) -> None:
        """Apply new settings. The folder stays the same until the next start."""
        self._settings = settings.autocert
        if self._manager is not None:
            self._manager.configure(self._settings)
        elif self._settings.entries:
            self._create()

    async def prepare(self) -> None:
        """Let Envoys have the stored certificates with the first table, so that a restart leaves no gap."""
        if self._manager is not None:
            await self._manager.prepare()

    async def run(self) -> None:
        """Obtain and renew certificates until cancelled."""
        await self._wanted.wait()
        if self._manager is not None:
            await self._manager.run()

    def _follow(self, table: Table, _aliases: Iterable[str]) -> None:
        self._table = table
        if self._manager is not None:
            self._manager.wake()

    def _hosts(self) -> Mapping[str, Sequence[str]]:
        from pilotage.certificates.hosts import find_hosts  # noqa: PLC0415

        if self._table is None:
            return {}
        files = [name for it in self._ads.snapshot.options.certificates for name in it.names]
        found = find_hosts(self._table.routes.values(), self._settings, self._is_served, files)
        self._host_problems = tuple(found.problems)
        return found.wanted

    def _is_served(self, alias: str) -> bool:
        return bool(self._ads.snapshot.resources_of(alias)[1])

    # ---- what the API reports

    def status(self) -> tuple[CertificateStatus, ...]:
        """Return the certificates, and the names that have none."""
        return self._manager.status() if self._manager is not None else ()

    @property
    def totals(self) -> CertificateTotals:
        """Counts of events since the start."""
        return self._manager.totals if self._manager is not None else CertificateTotals()

    @property
    def events(self) -> Sequence[CertificateEvent]:
        """The latest events, the newest last."""
        return self._manager.events if self._manager is not None else ()

    def self_signed(self) -> Mapping[str, SelfSigned]:
        """Return alias -> its host names that have only a self-signed certificate."""
        since = self._ads.certificates.self_signed_names
        if not since or self._manager is None or self._table is None:
            return {}
        from pilotage.certificates.hosts import self_signed_routes  # noqa: PLC0415

        served = (route for route in self._table.routes.values() if self._is_served(route.alias))
        return self_signed_routes(served, self._settings, since, self._manager.failures)

    def renew(self, name: str) -> tuple[CertificateStatus, ...]:
        """Replace the certificates for a host name soon; see :meth:`RenewalRequests.request`."""
        return self._requests.request(name) if self._requests is not None else ()

    async def root(self) -> bytes | None:
        """Return the root certificate of our own CA as PEM; ``None`` if there is none. Raises ``StorageError``."""
        return await self._manager.root() if self._manager is not None else None

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems with certificates."""
        if self._manager is None:
            return ()
        return (*self._host_problems, *self._manager.problems())  # the xds server reports its own


async def start_certificates(ads: AdsServer, settings: DaemonSettings, env: Mapping[str, str]) -> CertificateKeeper:
    """Return a keeper that already serves the stored certificates; see :class:`CertificateKeeper`."""
    keeper = CertificateKeeper(ads, settings, env)
    await keeper.prepare()
    return keeper
