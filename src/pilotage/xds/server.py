"""The control plane that Envoys ask: incremental ADS over gRPC, on a unix socket or with mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
import grpc.aio
from envoy.service.auth.v3 import external_auth_pb2
from envoy.service.discovery.v3 import discovery_pb2

from pilotage.table.table import Table
from pilotage.xds.clusters import GRPC_SUFFIX
from pilotage.xds.nacks import nack_problems
from pilotage.xds.request_queue import RequestQueue
from pilotage.xds.resources import CLUSTER
from pilotage.xds.secrets import read_certificates
from pilotage.xds.session import HTTP_LISTENERS, Session
from pilotage.xds.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from pilotage.core.problems import Problem
    from pilotage.discovery.update import Update
    from pilotage.routes.route import Route
    from pilotage.xds.options import GatewayOptions
    from pilotage.xds.resources import Key
    from pilotage.xds.session import Nack

__all__ = ["AdsServer"]

_LIMITS: Final = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 30_000),
    # Envoy's signs of life are wanted, however often: by default the third within five minutes ends the connection.
    ("grpc.http2.max_ping_strikes", 0),
)

_FAREWELL: Final = 1.0
"""Seconds in which conversations end by themselves when the server is closed."""


class AdsServer:
    """Keeps every connected Envoy in step with the table.

    Nothing is said to anybody before the first :meth:`publish`: an Envoy that is running keeps what it has.

    Attributes:
        snapshot: what every Envoy should have.

    Args:
        options: the gateway's settings.
        on_nack: receives each route that an Envoy rejected.
        linger: seconds that Envoys keep a backend's own cluster after the backend has moved to a shared one. Envoy
            retries a request in the cluster in which it started.

    """

    def __init__(
        self,
        options: GatewayOptions,
        *,
        on_nack: Callable[[Problem], None] | None = None,
        linger: float = 30.0,
    ) -> None:
        self.snapshot = Snapshot(options)
        self._on_nack = on_nack
        self._linger = linger
        self._sessions: dict[Session, asyncio.Event] = {}
        self._published = asyncio.Event()
        self._closed = asyncio.Event()
        self._moved: set[asyncio.Future[None]] = set()
        self._waiting = RequestQueue(self._is_ready, self._patience, self._endpoints)
        self._servers: list[grpc.aio.Server] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._lingering: dict[str, Route] = {}
        self._leaving: set[Key] = set()
        self._table = Table()

    # ---- life

    async def start(self, address: str, *, tls: tuple[bytes, bytes, bytes] | None = None) -> None:
        """Listen; may be called for several addresses.

        Args:
            address: ``unix:/path`` or ``host:port``.
            tls: certificate authority of Envoys, own certificate chain and key, each PEM; without it anybody who
                reaches the address can read all certificates and routes.

        Raises:
            ConfigError: a certificate of the gateway cannot be read.
            OSError: the address cannot be listened on.

        """
        self.reload_certificates()
        server = grpc.aio.server(options=_LIMITS)
        handlers = grpc.stream_stream_rpc_method_handler(
            self._converse,
            request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
            response_serializer=discovery_pb2.DeltaDiscoveryResponse.SerializeToString,
        )
        check = grpc.unary_unary_rpc_method_handler(
            self._waiting.check,
            request_deserializer=external_auth_pb2.CheckRequest.FromString,
            response_serializer=external_auth_pb2.CheckResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "envoy.service.discovery.v3.AggregatedDiscoveryService", {"DeltaAggregatedResources": handlers}
                ),
                grpc.method_handlers_generic_handler("envoy.service.auth.v3.Authorization", {"Check": check}),
            )
        )
        try:
            if tls is None:
                server.add_insecure_port(address)
            else:
                authority, chain, key = tls
                credentials = grpc.ssl_server_credentials(
                    [(key, chain)], root_certificates=authority, require_client_auth=True
                )
                server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        await server.start()
        self._servers.append(server)

    async def close(self) -> None:
        """Stop; Envoys keep what they have."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        servers, self._servers = self._servers, []
        # Calls end by themselves, for grpc logs those that are cut off as errors.
        self._closed.set()
        self._published.set()
        self._waiting.end()
        for wanted in self._sessions.values():
            wanted.set()
        for server in servers:
            await server.stop(_FAREWELL)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ---- what is published

    def publish(self, news: Update | Table) -> frozenset[Key]:
        """Bring a table, or what changed in it, to all Envoys.

        Returns:
            Type and name of each resource that changed, for :meth:`wait_for_acks`.

        """
        if isinstance(news, Table):
            changed = self.snapshot.replace(news)
            self._table = news
        elif news.old is self._table:
            changed = self.snapshot.change(news.new, {change.alias for change in news.changes if change.alias})
            self._table = news.new
        else:
            changed = self.snapshot.replace(news.new)
            self._table = news.new
        for alias, route in self.snapshot.lingering.items():
            self._forget_later(alias, route)
        self._published.set()
        self._announce(changed)
        return changed

    def configure(self, options: GatewayOptions) -> frozenset[Key]:
        """Take over other settings; arguments and result as for :meth:`publish`.

        Raises:
            ConfigError: a certificate cannot be read; the old settings stay.

        """
        secrets = read_certificates(options)
        changed = self.snapshot.configure(options) | self.snapshot.set_secrets(secrets)
        self._announce(changed)
        return changed

    def reload_certificates(self) -> frozenset[Key]:
        """Read the certificates again; arguments and result as for :meth:`configure`."""
        changed = self.snapshot.set_secrets(read_certificates(self.snapshot.options))
        self._announce(changed)
        return changed

    def _announce(self, changed: frozenset[Key]) -> None:
        # What answers no more is withdrawn at once: its addresses may be somebody else's in a moment.
        leaving = {key for key in changed if key[0] == CLUSTER and key not in self.snapshot.resources}
        staying = {key for key in leaving if self._is_served(key[1])}
        orphaned = {key for key in self._leaving if not self._is_served(key[1])}
        self._leaving = (self._leaving | staying) - orphaned
        self._tell((changed - staying) | orphaned)
        if staying:
            self._later(self._linger, lambda: self._let_go(staying))

    def _is_served(self, cluster: str) -> bool:
        # The whole name first, for an alias may be what the suffix is.
        backend = self.snapshot.backend(cluster) or self.snapshot.backend(cluster.removesuffix(GRPC_SUFFIX))
        return backend is not None and bool(backend.members)

    def _let_go(self, clusters: set[Key]) -> None:
        self._leaving -= clusters
        self._tell(clusters)  # of those that are back it says nothing new

    def _tell(self, changed: Iterable[Key]) -> None:
        for session, wanted in self._sessions.items():
            session.mark_changed(changed)
            wanted.set()

    def _later(self, delay: float, action: Callable[[], object]) -> None:
        def act() -> None:
            self._timers.discard(timer)
            action()

        timer = asyncio.get_running_loop().call_later(delay, act)
        self._timers.add(timer)

    def _forget_later(self, alias: str, route: Route) -> None:
        if self._lingering.get(alias) is route:
            return
        self._lingering[alias] = route

        def forget() -> None:
            if self._lingering.get(alias) is route:
                del self._lingering[alias]
            self._announce(self.snapshot.remove(alias, route))

        self._later(route.settings.hold, forget)

    # ---- what Envoys say

    @property
    def nodes(self) -> tuple[str, ...]:
        """The Envoys that are connected, by the names they call themselves."""
        return tuple(sorted(session.node for session in self._sessions))

    @property
    def waiting(self) -> int:
        """How many requests wait for an endpoint."""
        return self._waiting.count

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the gateway cannot do, and what Envoys refused, of the table as it is now."""
        found = [problem for _, problems in sorted(self.snapshot.problems.items()) for problem in problems]
        for session in self._sessions:
            for nack in session.nacks.values():
                found += self._blame(nack, session.node)
        return tuple(dict.fromkeys(found))

    def listener_problems(self, node: str) -> tuple[Problem, ...]:
        """Return why an Envoy takes no requests at all: it has refused a listener, and has none of before.

        Args:
            node: what it calls itself. What another one refuses is no reason for this one.

        """
        sessions = [session for session in self._sessions if session.node == node]
        lacking = [(session, key) for session in sessions for key in HTTP_LISTENERS if session.is_missing(key)]
        return tuple(found for session, key in lacking for found in self._blame(session.nacks[key], node))

    async def wait_for_acks(self, keys: Iterable[Key] | None = None, *, node: str = "") -> None:
        """Wait until an Envoy is there, and every one of them has answered to the given changes.

        Args:
            keys: from :meth:`publish`; everything there is, if not given.
            node: wait for the Envoy of that name alone.

        """
        chosen = None if keys is None else list(keys)

        def is_done(session: Session) -> bool:
            if chosen is None:
                return session.in_sync
            return session.node != "" and not any(map(session.is_pending, chosen))

        def asked() -> list[Session]:
            return [session for session in self._sessions if node in ("", session.node)]

        while not (sessions := asked()) or not all(map(is_done, sessions)):
            moved = asyncio.get_running_loop().create_future()
            self._moved.add(moved)
            try:
                await moved
            finally:
                self._moved.discard(moved)

    async def _converse(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        """Hold the conversation with one Envoy, for as long as it lasts."""
        await self._published.wait()
        if self._closed.is_set():
            return
        session, wanted = Session(self.snapshot.resources), asyncio.Event()
        self._sessions[session] = wanted
        listening = asyncio.create_task(self._listen(session, requests, wanted), name="ADS requests")
        try:
            while True:
                await wanted.wait()
                wanted.clear()
                if self._closed.is_set() or listening.done():
                    break
                for message in session.next_responses():
                    yield message
                self._move()  # what has come and gone meanwhile needs no message, and no answer
        finally:
            del self._sessions[session]
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.RpcError, grpc.aio.UsageError):
                await listening
            self._move()

    async def _listen(self, session: Session, requests: AsyncIterator[Any], wanted: asyncio.Event) -> None:
        try:
            async for request in requests:
                for nack in session.handle_request(request):
                    if self._on_nack is not None:
                        for problem in self._blame(nack, session.node):
                            self._on_nack(problem)
                wanted.set()
                self._move()
        finally:
            wanted.set()

    def _move(self) -> None:
        for moved in self._moved:
            if not moved.done():
                moved.set_result(None)
        self._waiting.look()

    def _blame(self, nack: Nack, node: str) -> list[Problem]:
        """Say which routes a refused resource is about, unless they have changed since."""
        item = nack.resource
        now = self.snapshot.resources.get(item.key)
        if now is None or item.version not in (now.version, now.first.version if now.first else ""):
            return []
        return nack_problems(nack, node, self._route_of)

    def _route_of(self, name: str) -> Route | None:
        backend = self.snapshot.backend(f"route/{name}") or self.snapshot.backend(f"pool/{name}")
        return backend.route if backend is not None else None

    # ---- what requests wait for

    def _is_ready(self, cluster: str) -> bool:
        backend = self.snapshot.backend(cluster)
        if backend is None or not backend.members:
            return False
        return all(session.has_current((CLUSTER, cluster)) for session in self._sessions)

    def _endpoints(self, cluster: str) -> list[tuple[str, int]]:
        backend = self.snapshot.backend(cluster)
        return (
            [(member.endpoint.host, member.endpoint.port) for member in backend.members] if backend is not None else []
        )

    def _patience(self, cluster: str) -> float:
        backend = self.snapshot.backend(cluster)
        return backend.route.settings.hold if backend is not None else 0.0
