"""Lets requests wait in Envoys while containers sleep, and reports which containers to wake."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2
from envoy.type.v3 import http_status_pb2
from google.rpc import status_pb2

from pilotage.xds.cluster_names import epoch_cluster, epoch_of, gate_key, gate_of, key_of
from pilotage.xds.clusters import GRPC_SUFFIX
from pilotage.xds.holds import MOST_WAITING
from pilotage.xds.local_replies import CAUSE, PAGE
from pilotage.xds.removals import RemovalHold
from pilotage.xds.resources import CLUSTER
from pilotage.xds.waiting_cluster import ANSWER_AFTER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from pilotage.routes.gate import Gate
    from pilotage.xds.resources import Key
    from pilotage.xds.session import Session
    from pilotage.xds.snapshot import Snapshot

__all__ = ["Page", "SleepGates"]

_UNAVAILABLE: Final = 14


def _epochs(gate: Gate | None) -> frozenset[int]:
    """Return the epochs (numbers of sleeps) for whose clusters requests may wait."""
    return frozenset() if gate is None else frozenset((gate.epoch, *gate.busy, *gate.waiting))


Page = tuple[str, dict[str, str]]
"""A page for a browser, and its headers."""


class SleepGates:
    """Tracks for which routes with sleeping containers Envoys have requests.

    Attributes:
        on_want: called with the name of a route or pool for which an Envoy has a request.
        on_epoch: called with the name of a route or pool, and an epoch in which an Envoy has requests for it.
        on_held: called with the key of a backend, and the clusters for which its requests have waited since before this
            process started. The last one is current.
        page: returns the body and headers of the page for a browser, given the name of a route or pool and the
            requested path; ``None`` to let the request wait.

    Args:
        snapshot: the configuration that every Envoy should have.
        send: sends changed resources.
        sessions: returns the connected Envoys.
        wait_for_acks: waits until all Envoys have accepted the given changes.
        held: receives the key of a backend and the cluster that requests wait for; returns whether they may wait.
        removals: knows whether the containers of any engine have yet to be listed.
        later: calls a function after a number of seconds.

    """

    def __init__(  # noqa: PLR0917  the parts of the server
        self,
        snapshot: Snapshot,
        send: Callable[[frozenset[Key]], object],
        sessions: Callable[[], Iterable[Session]],
        wait_for_acks: Callable[[Iterable[Key]], Awaitable[None]],
        held: Callable[[str, str], bool] = lambda _key, _cluster: False,
        removals: RemovalHold | None = None,
        later: Callable[[float, Callable[[], object]], object] = lambda _delay, _act: None,
    ) -> None:
        self._later = later
        self._removals = removals or RemovalHold()
        self.wait_for_acks = wait_for_acks
        self.on_want: Callable[[str], object] = lambda _alias: None
        self.on_epoch: Callable[[str, int], object] = lambda _alias, _epoch: None
        self.on_held: Callable[[str, tuple[str, ...]], object] = lambda _key, _clusters: None
        self.page: Callable[[str, str], Page | None] = lambda _alias, _path: None
        self._snapshot = snapshot
        self._send = send
        self._sessions = sessions
        self._held = held

    def next_epoch(self) -> int:
        """Return a number that no Envoy has seen in the name of a cluster."""
        return self._snapshot.holds.epochs.next()

    def set_gate(self, name: str, gate: Gate | None) -> frozenset[Key]:
        """Let the requests of a route or pool pass, wait or be rejected.

        Requests that wait for a cluster of an epoch that has ended are rejected.

        Args:
            name: the name of the route or pool, from :attr:`~pilotage.xds.backend.Backend.gate_name`.
            gate: whether requests pass, wait or are rejected; ``None`` if its containers never sleep.

        Returns:
            The keys of the changed resources, for :attr:`wait_for_acks`.

        """
        key = gate_key(name)
        before = self._snapshot.gates.pop(key, None)
        if gate is not None:
            self._snapshot.gates[key] = gate
        if gate == before:
            return frozenset()
        self._snapshot.holds.epochs.seen(gate.epoch if gate is not None else 0)
        changed = self._snapshot.build_again(key)
        self._send(changed)
        for epoch in _epochs(before) - _epochs(gate):
            for session in self._sessions():
                self._refuse(session, name, epoch)
        return changed

    @staticmethod
    def _refuse(session: Session, name: str, epoch: int) -> None:
        for suffix in ("", GRPC_SUFFIX):
            session.refuse(epoch_cluster(name, epoch) + suffix)

    def answer(self, session: Session) -> None:
        """Handle the clusters for which an Envoy has asked: wake containers, or say that a cluster does not exist.

        Envoy asks for a cluster only once. When it connects, it lists all clusters for which it has asked. Requests may
        be waiting for such a cluster, or the cluster may have been removed long ago. Containers are therefore woken
        only if Envoy's routes still use the cluster.
        """
        if not session.has_subscribed:
            return
        asked, session.asked = session.asked, []
        if session.before:
            asked = self._take_over(session, asked)
        for name in asked:
            cluster = name.removesuffix(GRPC_SUFFIX)
            if self._snapshot.backend(cluster) is None and self._may_come(name, session):
                session.asked.append(name)
            elif not self._may_wait(cluster):
                session.refuse(name)
            else:
                self._later(ANSWER_AFTER, partial(self._keep_waiting, session, name))

    def _keep_waiting(self, session: Session, name: str) -> None:
        if session in self._sessions():
            session.keep_waiting(name)
            self._send(frozenset())

    def _may_come(self, name: str, session: Session) -> bool:
        """Return whether a cluster that Envoy's earlier routes used may still get a backend. If so, Envoy waits."""
        return name in session.led_before and (self._removals.is_active or not gate_of(name))

    def _take_over(self, session: Session, asked: list[str]) -> list[str]:
        """Continue epochs from an Envoy's earlier control plane. Return the clusters for which the Envoy waits."""
        before, session.before = session.before, set()
        for name in (*before, *session.led_before):
            self._snapshot.holds.epochs.seen(epoch_of(name))
        found: list[str] = []
        held: dict[str, list[str]] = {}
        for name in asked:
            cluster = name.removesuffix(GRPC_SUFFIX)
            if name not in before or cluster in session.led_before:
                found.append(name)
            elif gate_of(cluster) or not epoch_of(cluster):
                session.refuse(name)
            if epoch_of(cluster) and not gate_of(cluster):
                held.setdefault(key_of(cluster), []).append(cluster)
        for cluster in session.led_before:
            if alias := gate_of(cluster):
                self.on_epoch(alias, epoch_of(cluster))
            elif session.accepted_version((CLUSTER, cluster)) is None:
                held.setdefault(key_of(cluster), []).append(cluster)  # requests may begin to wait for it now
        for key, clusters in held.items():
            latest = sorted(set(clusters), key=epoch_of)[-MOST_WAITING:]
            self.on_held(key, tuple(latest))
            found += [name for name in latest if name in asked]
        return found

    def _may_wait(self, cluster: str) -> bool:
        """Return whether requests may wait for a cluster. If its backend's containers can sleep, wake them."""
        backend = self._snapshot.backend(cluster)
        gate = backend.gate if backend is not None else None
        if backend is None or gate is None:
            return self._held(key_of(cluster), cluster)
        if gate.opening == "failed":
            return False
        self.on_want(backend.gate_name)
        if gate_of(cluster):
            return epoch_of(cluster) in (gate.epoch, *gate.waiting)
        return self._held(key_of(cluster), cluster)

    def check(self, alias: str, request: Any) -> Any:
        """Answer an ext_authz check for a browser's page load: return a page, or let the request proceed and wait."""
        self.on_want(alias)
        page = self.page(alias, request.attributes.request.http.path)
        if page is None:
            return external_auth_pb2.CheckResponse(
                status=status_pb2.Status(code=0), ok_response=external_auth_pb2.OkHttpResponse()
            )
        body, headers = page
        denied = external_auth_pb2.DeniedHttpResponse(
            status=http_status_pb2.HttpStatus(code=http_status_pb2.ServiceUnavailable),
            headers=[
                base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key=name, value=value))
                for name, value in headers.items()
            ],
            body=body,
        )
        response = external_auth_pb2.CheckResponse(status=status_pb2.Status(code=_UNAVAILABLE), denied_response=denied)
        response.dynamic_metadata.fields[CAUSE].string_value = PAGE  # keeps Envoy from replacing the page
        return response
