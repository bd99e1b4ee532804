"""Lets requests wait while endpoints refuse connections, and limits how long they wait."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from pilotage.core.pacing import pause_between_attempts
from pilotage.xds.clusters import GRPC_SUFFIX
from pilotage.xds.holds import LINGER, SLICES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pilotage.xds.backend import Backend, Member
    from pilotage.xds.resources import Key
    from pilotage.xds.session import Session
    from pilotage.xds.snapshot import Snapshot

__all__ = ["SHORTEST_SLICE", "HeldRequests", "accepts_connections"]

SHORTEST_SLICE: Final = 0.25
"""Minimum number of seconds that new requests wait for the same cluster. Shorter hold times are extended, because each
new cluster changes the route in all Envoys."""

_PROBE_INTERVAL: Final = 0.02
_PROBES_SLOW_DOWN: Final = 1.1
_LONGEST_PROBE_INTERVAL: Final = 0.5
"""Seconds between two attempts to connect to a server that is stopping. The interval grows with each attempt."""

_PROBE_TIMEOUT: Final = 0.5
"""Seconds that a connection attempt may take. If the server has not started yet, the attempt is refused at once."""


class HeldRequests:
    """Decides how long requests wait for an endpoint. The requests wait in Envoys, so they use no memory here.

    Engines report a container as running before its server listens. A backend's requests therefore wait until one of
    its endpoints accepts connections.

    Args:
        snapshot: the configuration that every Envoy should have.
        send: sends changed resources.
        sessions: returns the connected Envoys.
        later: calls a function after a number of seconds.

    """

    def __init__(
        self,
        snapshot: Snapshot,
        send: Callable[[frozenset[Key]], object],
        sessions: Callable[[], Iterable[Session]],
        later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self._snapshot = snapshot
        self._send = send
        self._sessions = sessions
        self._later = later
        self._asked: set[str] = set()  # clusters that Envoys have asked for
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}

    @property
    def clusters(self) -> int:
        """The number of clusters for which requests wait."""
        return len(self._asked)

    def follow(self) -> None:
        """Act on a change to the snapshot: reject requests for ended clusters, and probe backends that may open."""
        holds = self._snapshot.holds
        ended, holds.ended = holds.ended, []
        for cluster in ended:
            self._asked.discard(cluster)
            for session in self._sessions():
                for suffix in ("", GRPC_SUFFIX):
                    session.refuse(cluster + suffix)
        for key in holds.opening - self._opening.keys():
            self._opening[key] = asyncio.create_task(self._open(key), name=f"open {key}")
        for key in self._stopping.keys() - holds.stopping.keys():
            self._stopping.pop(key).cancel()
        for key in holds.stopping.keys() - self._stopping.keys():
            self._stopping[key] = asyncio.create_task(self._watch(key), name=f"watch {key}")
        for key in self._leaving.keys() - holds.leaving.keys():
            self._leaving.pop(key).cancel()
        for key in holds.leaving.keys() - self._leaving.keys():
            self._leaving[key] = asyncio.get_running_loop().call_later(holds.leaving[key], self._forget, key)

    def asked(self, key: str, cluster: str) -> bool:
        """Record that an Envoy has requests for a cluster of the backend ``key``. Return whether they may wait."""
        if not self._snapshot.holds.waits_for(key, cluster):
            return False
        backend = self._snapshot.backend(key)
        if cluster not in self._asked and backend is not None and backend.is_closed:
            self._asked.add(cluster)
            self._later(max(backend.hold / SLICES, SHORTEST_SLICE), partial(self._rotate, key, cluster, backend.hold))
        return True

    def close(self) -> None:
        """Stop all probes and timers. Requests go on waiting in Envoys, until Envoys' own time limit."""
        for task in (*self._opening.values(), *self._stopping.values()):
            task.cancel()
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()

    def _build(self, key: str) -> None:
        self._send(self._snapshot.build_again(key))

    def _rotate(self, key: str, cluster: str, hold: float) -> None:
        """Let new requests wait for another cluster; reject those that wait for this one ``hold`` seconds later."""
        if self._snapshot.holds.rotate(key, cluster):
            self._build(key)
        self._later(hold, partial(self._expire, key, cluster))

    def _expire(self, key: str, cluster: str) -> None:
        self._asked.discard(cluster)
        self._snapshot.holds.expire(key, cluster)
        self._send(frozenset())  # calls :meth:`follow`, and tells Envoys now instead of with their next change

    def _forget(self, key: str) -> None:
        del self._leaving[key]
        self._snapshot.holds.forget(key)
        self._build(key)

    def _trim(self, key: str, cluster: str) -> None:
        if self._snapshot.holds.trim(key, cluster):
            self._build(key)

    async def _watch(self, key: str) -> None:
        """Let a backend's requests wait while its endpoints are stopping and all refuse connections."""
        holds, interval = self._snapshot.holds, _PROBE_INTERVAL
        while True:
            refusing = not await accepts_connections(_addresses(holds.stopping.get(key, ())))
            if holds.set_refusing(key, refusing=refusing):
                self._build(key)
            await asyncio.sleep(interval)
            interval = min(_LONGEST_PROBE_INTERVAL, interval * _PROBES_SLOW_DOWN)

    async def _open(self, key: str) -> None:
        """Let a backend's requests through as soon as one of its endpoints accepts connections."""
        holds, now = self._snapshot.holds, asyncio.get_running_loop().time
        began = now()
        try:
            while key in holds.opening:
                if await accepts_connections(_endpoints(self._snapshot.backend(key))):
                    break
                await asyncio.sleep(pause_between_attempts(now() - began, len(self._opening)))
        finally:
            del self._opening[key]
        if key in holds.opening and holds.open(key):
            self._build(key)
            backend = self._snapshot.backend(key)
            self._later(LINGER, partial(self._trim, key, backend.cluster if backend is not None else ""))


def _endpoints(backend: Backend | None) -> list[tuple[str, int]]:
    return _addresses(backend.members) if backend is not None else []


def _addresses(members: Iterable[Member]) -> list[tuple[str, int]]:
    return [(member.host, member.endpoint.port) for member in members if member.agent is None]


async def accepts_connections(endpoints: Iterable[tuple[str, int]]) -> bool:
    """Return whether an endpoint may accept connections: ``False`` only if all the given endpoints refuse them."""
    refused = False
    for host, port in endpoints:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                _, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            refused = True
        except (OSError, ValueError):  # includes timeouts and invalid host names
            return True
        else:
            writer.close()
            return True
    return not refused
