"""Queues requests to backends without an endpoint by delaying the response to Envoy's ext_authz check."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from envoy.service.auth.v3 import external_auth_pb2
from envoy.type.v3 import http_status_pb2
from google.protobuf import struct_pb2
from google.rpc import status_pb2

from pilotage.xds.local_replies import CAUSE, HELD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["RequestQueue"]

_UNAVAILABLE: Final = 14
_ALLOW: Final = external_auth_pb2.CheckResponse(
    status=status_pb2.Status(code=0), ok_response=external_auth_pb2.OkHttpResponse()
)
_DENY: Final = external_auth_pb2.CheckResponse(
    status=status_pb2.Status(code=_UNAVAILABLE),
    denied_response=external_auth_pb2.DeniedHttpResponse(
        status=http_status_pb2.HttpStatus(code=http_status_pb2.ServiceUnavailable)
    ),
    dynamic_metadata=struct_pb2.Struct(fields={CAUSE: struct_pb2.Value(string_value=HELD)}),
)

_PROBE_INTERVAL: Final = 0.02
"""Seconds between two connection attempts."""

_PROBE_TIMEOUT: Final = 0.5
"""Seconds that a connection attempt may take. If the server has not started yet, the attempt is refused at once."""

_MIN_BATCH: Final = 10
_BATCHES: Final = 50
_PAUSE: Final = 0.01
"""Requests are released in batches of ``_MIN_BATCH`` or 1/``_BATCHES`` of the queue; a pause follows each batch."""


class RequestQueue:
    """Requests that wait for a backend.

    Engines report a container as running before its server listens. So once a backend has an endpoint, the queue probes
    the endpoint, and holds requests back for as long as it refuses connections. It then releases requests in small
    batches, because all of them at once would overflow the accept queue of a server that has just started.

    Args:
        is_ready: returns whether every Envoy has an endpoint for a backend.
        hold_time: returns how many seconds requests to a backend wait, 0 if they do not wait.
        endpoints: returns the hosts and ports of a backend's endpoints.

    """

    def __init__(
        self,
        is_ready: Callable[[str], bool],
        hold_time: Callable[[str], float],
        endpoints: Callable[[str], Iterable[tuple[str, int]]] = lambda _backend: (),
    ) -> None:
        self._is_ready = is_ready
        self._hold_time = hold_time
        self._endpoints = endpoints
        self._waiters: dict[str, deque[asyncio.Future[None]]] = {}
        self._releasing: dict[str, asyncio.Task[None]] = {}

    @property
    def count(self) -> int:
        """Number of queued requests."""
        return sum(map(len, self._waiters.values()))

    async def check(self, request: Any, _context: Any = None) -> Any:
        """Answer an ext_authz check: allow the request once its backend is ready, deny it after the hold time."""
        backend = request.attributes.context_extensions.get("backend", "")
        hold_time = self._hold_time(backend)
        if not hold_time or (self._is_ready(backend) and backend not in self._waiters):
            return _ALLOW
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(backend, deque()).append(waiter)
        self.release_ready()
        try:
            async with asyncio.timeout(hold_time):
                await waiter
        except TimeoutError:
            return _ALLOW if self._is_ready(backend) else _DENY
        finally:
            self._discard(backend, waiter)
        return _ALLOW

    def release_ready(self) -> None:
        """Start releasing the requests of backends that have become ready."""
        for backend in self._waiters:
            if backend not in self._releasing and self._is_ready(backend):
                self._releasing[backend] = asyncio.create_task(
                    self._release(backend), name=f"release requests for {backend}"
                )

    def release_all(self) -> None:
        """Release all requests when the server stops, because it will not learn when their backends become ready."""
        for task in self._releasing.values():
            task.cancel()
        for waiters in self._waiters.values():
            _release_first(waiters, len(waiters))
        self._waiters.clear()

    async def _release(self, backend: str) -> None:
        """Release the requests of a backend, oldest first, while it is ready."""
        try:
            while self._is_ready(backend) and not await _accepts_connections(self._endpoints(backend)):  # noqa: ASYNC110  polls another process
                await asyncio.sleep(_PROBE_INTERVAL)
            while self._is_ready(backend) and (waiters := self._waiters.get(backend)):
                _release_first(waiters, max(_MIN_BATCH, len(waiters) // _BATCHES))
                await asyncio.sleep(_PAUSE)
        finally:
            del self._releasing[backend]
            if not self._waiters.get(backend, True):
                del self._waiters[backend]

    def _discard(self, backend: str, waiter: asyncio.Future[None]) -> None:
        waiters = self._waiters.get(backend)
        if waiters is None:
            return
        # Any other waiter has already left the queue, and searching a long one is slow.
        if waiter.cancelled() and waiter in waiters:
            waiters.remove(waiter)
        if not waiters and backend not in self._releasing:
            del self._waiters[backend]


def _release_first(waiters: deque[asyncio.Future[None]], number: int) -> None:
    for _ in range(min(number, len(waiters))):
        waiter = waiters.popleft()
        if not waiter.done():
            waiter.set_result(None)


async def _accepts_connections(endpoints: Iterable[tuple[str, int]]) -> bool:
    """Return False if every endpoint refuses connections. Endpoints that only Envoy can reach count as listening."""
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
