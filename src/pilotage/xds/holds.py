"""Decides which backends let requests wait for an endpoint, and for which clusters they wait. Pure.

While a backend has no endpoint, its route refers to a cluster that Envoy does not have. Envoy asks for this cluster
once, and lets all requests for it wait. Requests that began earlier are retried in the cluster in which they began, so
that cluster is kept.

Each request waits for the backend's hold time, or up to a quarter longer. While requests wait, the route moves to a new
cluster every quarter of the hold time. One hold time after the move, requests for the old cluster are rejected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.xds.cluster_names import ClusterNames, hold_cluster

if TYPE_CHECKING:
    from pilotage.xds.backend import Backend, Member
    from pilotage.xds.epochs import Epochs

__all__ = ["LINGER", "MOST_WAITING", "SLICES", "Holds"]

SLICES: Final = 4
"""Number of parts into which the hold time is divided."""

MOST_WAITING: Final = SLICES + 2
"""Maximum number of clusters that requests for one backend wait for at the same time."""

_MOST_BEFORE: Final = 8
"""Maximum number of clusters that are kept for requests in progress while a container restarts repeatedly."""

LINGER: Final = 30.0
"""Seconds for which a cluster is kept after requests have waited for it. After that, none of these requests is
retried."""


class _Hold(msgspec.Struct):
    """The clusters of one backend.

    Attributes:
        current: the cluster that the backend's route uses.
        is_open: whether Envoys have the current cluster, so that requests need not wait.
        patience: maximum number of seconds that a request waits.
        waiting: earlier clusters for which requests wait, or waited until the backend opened.
        before: clusters of earlier states in which requests may still be in progress.

    """

    current: str
    is_open: bool = False
    patience: float = 0.0
    waiting: tuple[str, ...] = ()
    before: tuple[str, ...] = ()


class Holds:
    """The backends whose requests wait, or have waited.

    Attributes:
        opening: keys of backends that have endpoints again, but are still closed; see :meth:`open`.
        leaving: key of a backend that was removed, or whose containers can now sleep -> seconds after which
            :meth:`forget` is to be called.
        epochs: numbers for the names of clusters.
        ended: clusters that requests may wait for, but that Envoys will not get. The owner reports them to Envoys and
            empties the list.
        stopping: key of a backend whose containers were all told to stop and may come back -> its endpoints.

    Args:
        epochs: numbers for the names of clusters.

    """

    def __init__(self, epochs: Epochs) -> None:
        self.opening: set[str] = set()
        self.leaving: dict[str, float] = {}
        self.ended: list[str] = []
        self.stopping: dict[str, tuple[Member, ...]] = {}
        self.epochs = epochs
        self._refusing: set[str] = set()  # those of ``stopping`` whose endpoints refuse connections
        self._holds: dict[str, _Hold] = {}

    def apply(self, backend: Backend) -> Backend:
        """Return a backend with the names of the clusters to which its requests go, or for which they wait."""
        key = backend.key
        self.opening.discard(key)
        self.leaving.pop(key, None)
        hold = self._holds.get(key)
        if backend.gate is not None:
            self._is_not_stopping(key)
            return self._under_gate(backend, hold)
        if not backend.hold or backend.route.is_stream:
            self.forget(key)
            return backend
        backend = self._while_stopping(backend)
        if not backend.members and (hold is None or hold.is_open):
            hold = self._holds[key] = self._close(key, hold)
        if hold is None:
            return backend
        if backend.members and not hold.is_open:
            self.opening.add(key)
        others = (*hold.before, *(hold.waiting if hold.is_open else ()))
        hold.patience = backend.hold * (1 + 1 / SLICES)
        names = ClusterNames(current=hold.current, others=others, absent=not hold.is_open, patience=hold.patience)
        return msgspec.structs.replace(backend, names=names, backing="own")

    def _while_stopping(self, backend: Backend) -> Backend:
        """Return a backend without its endpoints if its containers were told to stop and refuse connections."""
        key = backend.key
        if not backend.restarting or {member.endpoint.state for member in backend.members} != {"draining"}:
            self._is_not_stopping(key)
            return backend
        self.stopping[key] = backend.members
        return msgspec.structs.replace(backend, members=()) if key in self._refusing else backend

    def _is_not_stopping(self, key: str) -> None:
        self.stopping.pop(key, None)
        self._refusing.discard(key)

    def set_refusing(self, key: str, *, refusing: bool) -> bool:
        """Record whether the endpoints of a stopping backend refuse connections. Return whether the record has changed.

        Containers often close their ports before the engine reports that the containers have ended.
        """
        if key not in self.stopping or refusing == (key in self._refusing):
            return False
        (self._refusing.add if refusing else self._refusing.discard)(key)
        return True

    def _close(self, key: str, hold: _Hold | None) -> _Hold:
        before = (key,) if hold is None else (*hold.before, hold.current, *hold.waiting)
        return _Hold(hold_cluster(key, self.epochs.next()), before=before[-_MOST_BEFORE:])

    def _under_gate(self, backend: Backend, hold: _Hold | None) -> Backend:
        """Return a backend whose containers can sleep, with the clusters for which requests have waited so far."""
        names = backend.names
        if hold is None or names is None:
            return backend
        if not names.absent:
            hold.is_open = True
            self.leaving[backend.key] = LINGER
        others = hold.before if names.absent else (*hold.before, *hold.waiting, hold.current)
        names = msgspec.structs.replace(names, others=(*names.others, *others))
        return msgspec.structs.replace(backend, names=names)

    def leave(self, key: str) -> None:
        """Record that a backend was removed. Requests go on waiting, and are served if it is added again in time."""
        hold = self._holds.get(key)
        if hold is not None and not hold.is_open:
            self._is_not_stopping(key)
            self.opening.discard(key)
            self.leaving[key] = hold.patience
        else:
            self.forget(key)

    def forget(self, key: str) -> None:
        """Forget the clusters of a backend that no longer holds requests, and reject those that are still waiting."""
        hold = self._holds.pop(key, None)
        self._is_not_stopping(key)
        self.opening.discard(key)
        self.leaving.pop(key, None)
        if hold is not None and not hold.is_open:
            self.ended += (*hold.waiting, hold.current)

    def waits_for(self, key: str, cluster: str) -> bool:
        """Return whether requests may wait for a cluster of a backend."""
        hold = self._holds.get(key)
        return hold is not None and cluster in (hold.current, *hold.waiting)

    def open(self, key: str) -> bool:
        """Record that requests to a backend no longer wait. Return ``False`` if they did not wait."""
        hold = self._holds.get(key)
        if hold is None or hold.is_open:
            return False
        hold.is_open = True
        self.opening.discard(key)
        return True

    def rotate(self, key: str, cluster: str) -> bool:
        """Let new requests wait for a new cluster. Do nothing and return ``False`` if ``cluster`` is not current."""
        hold = self._holds.get(key)
        if hold is None or hold.is_open or hold.current != cluster:
            return False
        hold.waiting = (*hold.waiting, cluster)
        hold.current = hold_cluster(key, self.epochs.next())
        return True

    def expire(self, key: str, cluster: str) -> None:
        """Reject the requests that still wait for an earlier cluster, because they have waited long enough."""
        hold = self._holds.get(key)
        if hold is not None and not hold.is_open and cluster in hold.waiting:
            hold.waiting = tuple(name for name in hold.waiting if name != cluster)
            self.ended.append(cluster)

    def trim(self, key: str, cluster: str) -> bool:
        """Forget the clusters that a backend had before it opened. Return whether it had such clusters.

        Args:
            key: the backend.
            cluster: the cluster that its route has used since it opened. If the route now uses another cluster, nothing
                changes.

        """
        hold = self._holds.get(key)
        if hold is None or not hold.is_open or hold.current != cluster or not (hold.waiting or hold.before):
            return False
        hold.waiting = hold.before = ()
        return True

    def adopt(self, key: str, clusters: tuple[str, ...]) -> None:
        """Take over clusters for which requests waited before this process started. The last one is current."""
        hold = self._holds.get(key)
        known = (hold.current, *hold.waiting, *hold.before) if hold is not None else ()
        new = tuple(name for name in clusters if name not in known)
        if hold is None and new:
            self._holds[key] = _Hold(new[-1], waiting=new[:-1], before=(key,))
        elif hold is not None:
            hold.waiting = (*hold.waiting, *new)
