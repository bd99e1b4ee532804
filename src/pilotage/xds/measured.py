"""Bounds the statistics that Envoy keeps about routes. Pure.

Until Envoy restarts, it keeps the statistics of errors and durations for each name of a route, even after the route is
removed. Each name takes 10 KiB. Without a limit, anyone who can start containers could fill Envoy's memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.xds.problems import not_measured

if TYPE_CHECKING:
    from pilotage.core.problems import Problem
    from pilotage.xds.backend import Backend

__all__ = ["MOST_MEASURED", "MeasuredNames"]

MOST_MEASURED: Final = 20_000


class MeasuredNames:
    """The names whose requests Envoys count: the first ones seen since the daemon started.

    Args:
        most: maximum number of names.

    """

    def __init__(self, most: int = MOST_MEASURED) -> None:
        self._most = most
        self._names: set[str] = set()

    def add_to(self, backend: Backend | None) -> Backend | None:
        """Return a backend with its field ``measured`` set."""
        if backend is None or backend.route.is_stream or backend.name in self._names:
            return backend
        if len(self._names) >= self._most:
            return msgspec.structs.replace(backend, measured=False)
        self._names.add(backend.name)
        return backend

    def problems(self, backend: Backend | None) -> tuple[Problem, ...]:
        """Return a warning about a backend whose requests are not counted."""
        return () if backend is None or backend.measured else (not_measured(backend, self._most),)
