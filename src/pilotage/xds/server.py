"""Serves incremental ADS over gRPC, on a Unix socket or with mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
import grpc.aio

from pilotage.table.table import Table
from pilotage.xds.automatic_certificates import AutomaticCertificates
from pilotage.xds.checks import SERVICE, refuse, unchanged
from pilotage.xds.clusters import GRPC_SUFFIX
from pilotage.xds.envoy_version import requests_of_supported
from pilotage.xds.envoys import Envoys
from pilotage.xds.failure_reports import FailureReports
from pilotage.xds.held_requests import HeldRequests
from pilotage.xds.load_reports import LoadReports
from pilotage.xds.nacks import Retries, nack_problems
from pilotage.xds.private_sockets import bind
from pilotage.xds.removals import RemovalHold
from pilotage.xds.resolver import look_up
from pilotage.xds.resources import CLUSTER, Key
from pilotage.xds.secrets import read_certificates
from pilotage.xds.services import grpc_server, stop_server
from pilotage.xds.session import Session
from pilotage.xds.session_state import HTTP_LISTENERS
from pilotage.xds.sleep_gates import SleepGates
from pilotage.xds.snapshot import Snapshot
from pilotage.xds.target_watch import TargetWatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from pilotage.core.problems import Problem
    from pilotage.discovery.update import Update
    from pilotage.routes.route import Route
    from pilotage.table.envoys import RouteState
    from pilotage.xds.options import GatewayOptions
    from pilotage.xds.target_guard import TargetGuard

__all__ = ["AdsServer"]

_SHUTDOWN_GRACE: Final = 1.0
"""Seconds that open streams have to end when the server closes."""


class AdsServer:
    """Keeps every connected Envoy in sync with the table.

    It sends nothing before the first :meth:`publish`, so that a running Envoy keeps what it has.

    Attributes:
        snapshot: the configuration that every Envoy should have.
        gates: decides whether requests to routes whose containers can sleep pass, wait or are rejected.
        held: the requests that wait for an endpoint.
        targets: resolves and probes the targets in the snapshot.
        envoys: the connected Envoys.
        certificates: the certificates that pilotage obtains, and the challenges of their authorities.
        loads: the load reports of the connected Envoys.
        failures: the connected Envoys' reports of failed requests.
        removals: lets Envoys keep what they had before this process started, until :meth:`release_removals`.
        on_check, on_body: do the work of middlewares that Envoy lacks; by default, refuse requests and keep bodies.

    Args:
        options: the gateway's settings.
        on_nack: called with a problem for each route whose configuration an Envoy rejects.
        linger: seconds for which Envoys keep the cluster of a backend that has moved to a shared one, for retries.
        guard: decides which targets are refused; by default, the guard for a policy without rules.
        lookup: resolves a host name in a thread; by default, :func:`pilotage.xds.resolver.look_up`.

    """

    def __init__(
        self,
        options: GatewayOptions,
        *,
        on_nack: Callable[[Problem], None] | None = None,
        linger: float = 30.0,
        guard: TargetGuard | None = None,
        lookup: Callable[[str], tuple[str, ...]] = look_up,
    ) -> None:
        self.snapshot = Snapshot(options, guard)
        self.on_check: Callable[[Any], Awaitable[Any]] = refuse
        self.on_body: Callable[[AsyncIterator[Any], str], AsyncIterator[Any]] = unchanged
        self._on_nack = on_nack
        self._linger = linger
        self.envoys = Envoys(lambda: self.snapshot.resources)
        self._sessions = self.envoys.sessions
        self.loads, self.failures = LoadReports(), FailureReports()
        self._published, self._closed = asyncio.Event(), asyncio.Event()
        self.removals = RemovalHold()
        parts = (self.snapshot, self._send_changes, lambda: tuple(self._sessions))
        self.held = HeldRequests(*parts, self._schedule)
        self.gates = SleepGates(*parts, self.wait_for_acks, self.held.asked, self.removals, self._schedule)
        self.gates.on_held = self._take_over
        self.targets = TargetWatcher(self.snapshot, self._send_changes, lookup=lookup)
        self.certificates = AutomaticCertificates(self.snapshot, self._send_changes, self.envoys, self._schedule)
        self._servers: list[grpc.aio.Server] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._lingering: dict[str, Route] = {}
        self._restarting: dict[str, float] = {}  # alias -> when it was last seen draining
        self._retiring, self._table = set[Key](), Table()

    # ---- life

    async def start(self, address: str, *, tls: tuple[bytes, bytes, bytes] | None = None) -> None:
        """Listen on an address. May be called for several addresses.

        Args:
            address: ``unix:/path`` or ``host:port``. The socket's directory must have mode 0700; the socket gets 0600.
            tls: the CA certificate of the Envoys, and the server's own certificate chain and key, as PEM. Required for
                TCP, because every client can read all routes and private keys.

        Raises:
            ConfigError: a certificate of the gateway cannot be read or used, or TCP without TLS is requested.
            OSError: the server cannot listen on the address.

        """
        self._read_settings(self.snapshot.options)
        streams = self.loads.stream, self.failures.stream
        body = lambda *it: self.on_body(*it)  # noqa: E731, PLW0108  it may change later
        server = grpc_server(self._stream, self._check, *streams, body)
        bind(server, address, tls)
        await server.start()
        self._servers.append(server)

    async def _check(self, request: Any, _context: Any = None) -> Any:
        """Answer an ext_authz check: for a page load while containers sleep, or for a middleware of ours."""
        at = request.attributes.context_extensions
        return await self.on_check(request) if SERVICE in at else self.gates.check(at.get("page", ""), request)

    async def close(self) -> None:
        """Stop serving. Envoys keep what they have."""
        for part in (self.envoys, self.loads, self.failures, self.certificates):
            part.close()
        await self.targets.close()
        servers, self._servers = self._servers, []
        # Let the calls end first: grpc logs calls that it has to cut off as errors.
        self._closed.set()
        self._published.set()
        self.held.close()
        for wake in self._sessions.values():
            wake.set()
        for server in servers:
            await stop_server(server, _SHUTDOWN_GRACE)
        while self._timers:
            self._timers.pop().cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ---- changes

    def publish(self, news: Update | Table) -> frozenset[Key]:
        """Send a table, or an update of the last table, to all Envoys.

        Returns:
            The keys of the resources that changed, for :meth:`wait_for_acks`.

        """
        table = news if isinstance(news, Table) else news.new
        if isinstance(news, Table) or news.old is not self._table:
            changed = self.snapshot.replace(table)
        else:
            changed = self.snapshot.change(table, {change.alias for change in news.changes if change.alias})
        self._table = table
        changed |= self.targets.follow()
        awaited, self.snapshot.awaited = self.snapshot.awaited, set()
        for alias in awaited:
            self._schedule_removal(alias)
            if alias in self.snapshot.restarting:
                self._schedule_settling(alias)
        self._published.set()
        self._send_changes(changed)
        return changed

    def release_removals(self) -> None:
        """Let Envoys remove earlier resources that the table does not need; see :attr:`removals`."""
        self._notify(self.removals.end())
        for session in self._sessions:
            self.gates.answer(session)

    def configure(self, options: GatewayOptions, guard: TargetGuard | None = None) -> frozenset[Key]:
        """Apply new settings. Like :meth:`publish`, return the keys of the changed resources.

        Args:
            options: the gateway's settings.
            guard: decides which targets are refused; if omitted, the previous guard.

        Raises:
            ConfigError: a certificate cannot be read or used. The old settings stay in effect.

        """
        changed = self._read_settings(options, guard) | self.targets.follow()
        self._send_changes(changed)
        for session, wake in self._sessions.items():  # files of routes may have changed, too
            session.retry(session.rejected_keys)
            wake.set()
        return changed

    def _read_settings(self, options: GatewayOptions, guard: TargetGuard | None = None) -> frozenset[Key]:
        options, secrets = read_certificates(options)
        return self.snapshot.configure(options, guard) | self.snapshot.set_secrets(secrets)

    def reload_certificates(self) -> frozenset[Key]:
        """Read the certificates again. Returns and raises the same as :meth:`configure`."""
        return self.configure(self.snapshot.options)

    def _send_changes(self, changed: frozenset[Key]) -> None:
        # Remove a cluster without endpoints at once, because its addresses may soon belong to another container.
        gone = {key for key in changed if key[0] == CLUSTER and key not in self.snapshot.resources}
        staying = {key for key in gone if self._is_served(key[1])}
        orphaned = {key for key in self._retiring if not self._is_served(key[1])}
        self._retiring = (self._retiring | staying) - orphaned
        self.envoys.published(changed, self._table.version)
        self._notify((changed - staying) | orphaned)
        if staying:
            self._schedule(self._linger, lambda: self._retire(staying))
        self.held.follow()
        self.snapshot.problems.report_changes()

    def _is_served(self, cluster: str) -> bool:
        # Try the whole name first, because an alias may equal the suffix.
        backend = self.snapshot.backend(cluster) or self.snapshot.backend(cluster.removesuffix(GRPC_SUFFIX))
        return backend is not None and bool(backend.members)

    def _retire(self, clusters: set[Key]) -> None:
        self._retiring -= clusters
        self._notify(clusters)  # has no effect on clusters that have come back

    def _retry(self, session: Session, key: Key, retries: Retries) -> None:
        """Resend the resources that an Envoy rejected, if they are still wanted."""
        rejected = session.rejected_keys & {key}
        retries.begin(key, rejected=bool(rejected))
        if rejected and session in self._sessions:
            if changed := self.targets.read_again(rejected):
                self._send_changes(changed)
            session.retry(rejected)
            self._sessions[session].set()

    def _notify(self, changed: Iterable[Key]) -> None:
        for session, wake in self._sessions.items():
            session.mark_changed(changed)
            wake.set()

    def _schedule(self, delay: float, action: Callable[[], object]) -> None:
        def act() -> None:
            self._timers.discard(timer)
            action()

        timer = asyncio.get_running_loop().call_later(delay, act)
        self._timers.add(timer)

    def _schedule_removal(self, alias: str) -> None:
        route = self.snapshot.lingering.get(alias)
        if route is None or self._lingering.get(alias) is route:
            return
        self._lingering[alias] = route

        def remove() -> None:
            if self._lingering.get(alias) is route:
                del self._lingering[alias]
            self._send_changes(self.snapshot.remove(alias, route))

        self._schedule(self.snapshot.hold_of(alias, route), remove)

    def _schedule_settling(self, alias: str) -> None:
        """Schedule the time after which an alias's draining or removed containers are no longer expected back."""
        now, is_expected = asyncio.get_running_loop().time, alias in self._restarting
        self._restarting[alias] = now()

        def settle() -> None:
            if (rest := self._restarting[alias] + self._linger - now()) > 0:
                self._schedule(rest, settle)
                return
            del self._restarting[alias]
            self._send_changes(self.snapshot.settle(alias))
            if alias in self.snapshot.restarting:
                self._schedule_settling(alias)

        if not is_expected:
            self._schedule(self._linger, settle)

    def _take_over(self, key: str, clusters: tuple[str, ...]) -> None:
        """Let requests that have waited for a backend since before this process started go on waiting."""
        backend = self.snapshot.backend(key)
        if backend is not None and not backend.hold and not backend.pool:
            self.snapshot.restarting.add(backend.name)
            self._schedule_settling(backend.name)
        self.snapshot.holds.adopt(key, clusters)
        self._send_changes(self.snapshot.build_again(key))

    # ---- state of the Envoys

    @property
    def nodes(self) -> tuple[str, ...]:
        """Node IDs of the connected Envoys."""
        return tuple(sorted(session.node for session in self._sessions))

    def route_states(self, alias: str) -> dict[str, RouteState]:
        """Return node ID -> whether this Envoy has a route; empty if the route is not served."""
        host, keys = self.snapshot.resources_of(alias)
        return self.envoys.route_states(host, keys) if keys else {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All current problems: those in the table, resources that Envoys have rejected, and unresponsive Envoys."""
        found = [problem for _, problems in sorted(self.snapshot.problems.items()) for problem in problems]
        for session in self._sessions:
            for nack in session.rejections:
                found += nack_problems(nack, session.node, self._route_of)
        return tuple(dict.fromkeys([*found, *self.envoys.problems, *self.certificates.problems]))

    def listener_problems(self, node: str) -> tuple[Problem, ...]:
        """Return why an Envoy accepts no HTTP requests, if it has rejected a listener and has no earlier version.

        Args:
            node: Envoy's node ID. NACKs of other Envoys are ignored.

        """
        sessions = [session for session in self._sessions if session.node == node]
        missing = [(session, key) for session in sessions for key in HTTP_LISTENERS if session.is_missing(key)]
        return tuple(
            found for session, key in missing for found in nack_problems(session.nacks[key], node, self._route_of)
        )

    async def wait_for_acks(
        self, keys: Iterable[Key] | None = None, *, node: str = "", patience: float = math.inf
    ) -> None:
        """Wait until at least one Envoy is connected and all of them have acknowledged or rejected the given changes.

        Args:
            keys: result of :meth:`publish`; if not given, all resources.
            node: wait only for the Envoy with this node ID; ``""`` for all.
            patience: do not wait for an Envoy that has left a response unanswered for this many seconds.

        """
        chosen = None if keys is None else list(keys)

        def is_done(session: Session) -> bool:
            if chosen is None:
                return session.in_sync
            return session.node != "" and not any(map(session.is_pending, chosen))

        await self.envoys.wait(is_done, node, patience)

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """Serve the ADS stream of one Envoy."""
        await self._published.wait()
        if self._closed.is_set():
            return
        session = Session(self.snapshot.resources, self.removals)
        wake = self.envoys.join(session, local=context.peer().startswith("unix"))
        reader = asyncio.create_task(self._read_requests(session, requests, wake), name="ADS requests")
        try:
            while True:
                await wake.wait()
                wake.clear()
                if self._closed.is_set() or reader.done():
                    break
                session.now = asyncio.get_running_loop().time()
                for message in session.next_responses():
                    yield message
                self.envoys.progress(session)  # a change that has since been reverted needs no response
        finally:
            self.envoys.leave(session)
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.RpcError, grpc.aio.UsageError):
                await reader

    async def _read_requests(self, session: Session, requests: AsyncIterator[Any], wake: asyncio.Event) -> None:
        retries = Retries()
        try:
            async for request in requests_of_supported(requests):
                for nack in session.handle_request(request):
                    delay, is_new = retries.add(nack)
                    if delay is not None:
                        self._schedule(delay, functools.partial(self._retry, session, nack.resource.key, retries))
                    if is_new and self._on_nack is not None:
                        for problem in nack_problems(nack, session.node, self._route_of):
                            if retries.is_first(nack, problem):
                                self._on_nack(problem)
                self.snapshot.problems.resolve(retries.forget(session.rejected_keys))
                self.gates.answer(session)
                wake.set()
                self.envoys.heard(session)
        finally:
            wake.set()

    def _route_of(self, name: str) -> Route | None:
        backend = self.snapshot.backend(f"route/{name}") or self.snapshot.backend(f"pool/{name}")
        return backend.route if backend is not None else None
