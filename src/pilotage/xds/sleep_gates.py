"""Lets requests wait in Envoys while containers sleep, and tells who wakes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2
from envoy.type.v3 import http_status_pb2
from google.rpc import status_pb2

from pilotage.xds.backend import epoch_cluster, gate_key
from pilotage.xds.clusters import GRPC_SUFFIX
from pilotage.xds.local_replies import CAUSE, PAGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from pilotage.routes.gate import Gate
    from pilotage.xds.resources import Key
    from pilotage.xds.session import Session
    from pilotage.xds.snapshot import Snapshot

__all__ = ["Page", "SleepGates"]

_UNAVAILABLE: Final = 14

Page = tuple[str, dict[str, str]]
"""A page for a browser, and its headers."""


class SleepGates:
    """Knows which sleeping routes Envoys ask for.

    Attributes:
        on_want: receives the name of a gate that an Envoy has a request for.
        page: returns what a browser that asks behind a gate for a path sees; ``None`` to let it wait.

    Args:
        snapshot: what every Envoy should have.
        send: sends changed resources.
        sessions: returns the connected Envoys.
        wait_for_acks: waits until all Envoys have accepted some changes.

    """

    def __init__(
        self,
        snapshot: Snapshot,
        send: Callable[[frozenset[Key]], object],
        sessions: Callable[[], Iterable[Session]],
        wait_for_acks: Callable[[Iterable[Key]], Awaitable[None]],
    ) -> None:
        self.wait_for_acks = wait_for_acks
        self.on_want: Callable[[str], object] = lambda _alias: None
        self.page: Callable[[str, str], Page | None] = lambda _alias, _path: None
        self._snapshot = snapshot
        self._send = send
        self._sessions = sessions

    def set_gate(self, name: str, gate: Gate | None) -> frozenset[Key]:
        """Let the requests of a route or pool pass, wait or be rejected.

        Requests that wait for an epoch which has ended are rejected.

        Args:
            name: its gate, from :attr:`~pilotage.xds.backend.Backend.gate_name`.
            gate: the new state; ``None`` if its containers never sleep.

        Returns:
            The keys of the changed resources, for :attr:`wait_for_acks`.

        """
        key = gate_key(name)
        before = self._snapshot.gates.pop(key, None)
        if gate is not None:
            self._snapshot.gates[key] = gate
        if gate == before:
            return frozenset()
        changed = self._snapshot.pass_gate(key)
        self._send(changed)
        if before is not None and (gate is None or gate.epoch != before.epoch):
            for session in self._sessions():
                self._refuse(session, name, before.epoch)
        return changed

    @staticmethod
    def _refuse(session: Session, name: str, epoch: int) -> None:
        for suffix in ("", GRPC_SUFFIX):
            session.refuse(epoch_cluster(name, epoch) + suffix)

    def answer(self, session: Session) -> None:
        """Handle what an Envoy has asked for: wake the containers, or say that the cluster does not exist.

        After a restart of the control plane, an Envoy may ask for an earlier epoch. Such a request fails, but wakes.
        """
        asked, session.asked = session.asked, []
        for name in asked:
            backend = self._snapshot.backend(name.removesuffix(GRPC_SUFFIX))
            gate = backend.gate if backend is not None else None
            is_current = backend is not None and gate is not None and name.removesuffix(GRPC_SUFFIX) == backend.cluster
            if backend is not None and gate is not None and gate.opening != "failed":
                self.on_want(backend.gate_name)
            if not is_current or gate is None or gate.opening == "failed":
                session.refuse(name)

    def check(self, alias: str, request: Any) -> Any:
        """Answer an ext_authz check of a page load of a browser: with a page, or with nothing, so that it waits."""
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
        response.dynamic_metadata.fields[CAUSE].string_value = PAGE  # so that Envoy keeps the page
        return response
