"""Measures how close Envoy is to its limits, passes this on to Envoy, and reports refused connections.

Envoy refuses connections beyond its limit, but does not close idle ones to make room, and does not know how many
descriptors it uses. For each limit, this module therefore writes the share that is in use to a file, which Envoy reads.
When a share grows, Envoy closes idle connections early or refuses requests (:mod:`pilotage.xds.overload`).
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Final, Protocol

from pilotage.core.errors import GatewayError
from pilotage.core.text import count
from pilotage.gateway.capacity import failure, open_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pilotage.gateway.process import GatewayStatus
    from pilotage.xds.overload import Limits

__all__ = ["OverloadMonitor"]

log = logging.getLogger(__name__)

_INTERVAL: Final = 0.2
_CALM: Final = 1.0
_BUSY: Final = 0.5
"""Seconds between two requests for statistics: ``_INTERVAL`` while more than the share ``_BUSY`` of any limit may be in
use, and ``_CALM`` otherwise. Envoy acts on shares above 0.6."""
_PAUSE_FACTOR: Final = 20
_CALM_FACTOR: Final = 400
_LONGEST_CALM: Final = 10.0
"""The pause after reading statistics is at least ``_PAUSE_FACTOR`` times the duration, because reading blocks Envoy's
main thread. Far from all limits, it is ``_CALM_FACTOR`` times the duration, up to ``_LONGEST_CALM`` seconds."""
_STATISTICS: Final = (
    r"^overload\.envoy\.(?:overload_actions\.stop_accepting_requests\.active"
    r"|resource_monitors\.global_downstream_max_connections\.pressure)$"
    r"|\.clients\.refused$"
)
_REFUSES: Final = "envoy_overload_envoy_overload_actions_stop_accepting_requests_active{"
_CONNECTIONS: Final = "envoy_overload_envoy_resource_monitors_global_downstream_max_connections_pressure{"
_REFUSED: Final = "envoy_listener_clients_refused{"
_PAUSE: Final = 600.0  # seconds until the log says again that clients have too many connections


class _Envoy(Protocol):
    @property
    def status(self) -> GatewayStatus: ...

    async def stats(self, pattern: str) -> dict[str, int]: ...


class OverloadMonitor:
    """Watches how close one Envoy is to its limits. Run :meth:`run` in a task.

    Args:
        envoy: the Envoy to watch.
        folder: folder of the files ``connections`` and ``descriptors``, in which Envoy reads the shares.
        descriptors: how many descriptors Envoy may have open.
        limits: the limits in Envoy's configuration.
        count: returns how many descriptors a process has open, given its process ID.

    Attributes:
        problem: why Envoy refuses connections or requests at the moment; ``""`` if Envoy accepts both.

    """

    def __init__(
        self,
        envoy: _Envoy,
        folder: Path,
        descriptors: int,
        limits: Limits,
        count: Callable[[int], int] = open_descriptors,
    ) -> None:
        self.problem = ""
        self._envoy = envoy
        self._folder = folder
        self._descriptors = descriptors
        self._connections = limits.connections
        self._count = count
        self._written: dict[str, str] = {}
        self._clients = 0.0
        self._has_warned = False
        self._refused = 0
        self._unreported = 0
        self._quiet_until = 0.0

    def prepare(self) -> None:
        """Write both files with the share 0, because they must exist when Envoy starts.

        Raises:
            GatewayError: a file cannot be written.

        """
        self._write("connections", 0.0)
        self._write("descriptors", 0.0)

    async def run(self) -> None:
        """Update the files and :attr:`problem` regularly until cancelled; log when ``problem`` changes."""
        loop = asyncio.get_running_loop()
        ended, took = -math.inf, 0.0
        while True:
            pid = self._envoy.status.pid
            descriptors = self._count(pid) if pid else 0
            used = min(1.0, descriptors / self._descriptors)
            if (began := loop.time()) >= ended + self._pause(descriptors, took):
                await self._ask()
                ended = loop.time()
                took = ended - began
            try:
                self._write("connections", self._clients)
                self._write("descriptors", used)
            except GatewayError as error:
                self._report_once(error)
            await asyncio.sleep(_INTERVAL)

    def _pause(self, descriptors: int, took: float) -> float:
        """Return how many seconds to wait until the next read of the statistics. The last one took ``took`` seconds."""
        most = descriptors / min(self._descriptors, self._connections)  # each connection needs a descriptor
        if max(most, self._clients) > _BUSY or self.problem:
            return max(_INTERVAL, _PAUSE_FACTOR * took)
        return max(_CALM, _PAUSE_FACTOR * took, min(_LONGEST_CALM, _CALM_FACTOR * took))

    async def _ask(self) -> None:
        try:
            found = await self._envoy.stats(_STATISTICS)
        except GatewayError:
            return  # it is starting or has just exited, which others report
        self._clients = min(1.0, _total(found, _CONNECTIONS) / 100)
        problem = ""
        if _total(found, _REFUSES):
            problem = "Envoy refuses requests, because its memory or its descriptors are nearly used up"
        elif self._clients == 1.0:
            problem = "Envoy refuses connections, because the maximum number of connections is open"
        if problem and not self.problem:
            log.warning("%s; idle connections are closed early", problem)
        elif self.problem and not problem:
            log.info("Envoy accepts connections and requests again")
        self.problem = problem
        self._report_refused(_total(found, _REFUSED))

    def _report_refused(self, refused: int) -> None:
        """Log how many connections Envoy has refused to clients at their limit, unless this was logged recently."""
        now = asyncio.get_running_loop().time()
        new = max(0, refused - self._refused)  # an Envoy that has just been started counts from zero
        self._refused = refused
        self._unreported += new
        if new and now >= self._quiet_until:
            number = count(self._unreported, "connection")
            log.warning("%s refused, because a client has reached gateway.max_connections_per_client", number)
            self._quiet_until = now + _PAUSE
            self._unreported = 0

    def _report_once(self, error: GatewayError) -> None:
        if not self._has_warned:
            log.warning("%s; without this file, idle connections are not closed early", error)
        self._has_warned = True

    def _write(self, name: str, share: float) -> None:
        text = f"{share:.2f}"
        if text == self._written.get(name):
            return
        file = self._folder / name
        fresh = file.with_suffix(".new")
        try:
            fresh.write_text(text)
            fresh.replace(file)  # Envoy only notices files that are moved into place
        except OSError as error:
            remedy = "free some space there, or set TMPDIR to another folder"
            raise failure(f"cannot write {file}", error, remedy) from error
        self._written[name] = text


def _total(found: Mapping[str, int], metric: str) -> int:
    """Return the sum of a metric over all its labels."""
    return sum(value for name, value in found.items() if name.startswith(metric))
