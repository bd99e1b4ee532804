"""Requests that wait: Envoy asks whether it may go on with one, and the answer is kept until there is an endpoint."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from envoy.service.auth.v3 import external_auth_pb2
from envoy.type.v3 import http_status_pb2
from google.rpc import status_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["RequestQueue"]

_UNAVAILABLE: Final = 14
_GO_ON: Final = external_auth_pb2.CheckResponse(
    status=status_pb2.Status(code=0), ok_response=external_auth_pb2.OkHttpResponse()
)
_GIVE_UP: Final = external_auth_pb2.CheckResponse(
    status=status_pb2.Status(code=_UNAVAILABLE),
    denied_response=external_auth_pb2.DeniedHttpResponse(
        status=http_status_pb2.HttpStatus(code=http_status_pb2.ServiceUnavailable),
        body="This service has not come back in time. Try again in a moment.\n",
    ),
)


_LOOK_AGAIN: Final = 0.02
"""Seconds between two tries to connect."""

_ANSWER: Final = 0.5
"""Seconds that a try may take; who takes longer is no server that has yet to begin."""

_AT_ONCE: Final = 10
_ROUNDS: Final = 50
_PAUSE: Final = 0.01
"""So many go on at once, or this part of all who wait; then there is a pause."""


class RequestQueue:
    """Who waits for which backend.

    An engine calls a container running before its server listens. So once there is an endpoint, a connection is tried,
    and as long as it is refused, requests go on waiting. Then they go on a few at a time, for whole crowds at once
    would overflow the queue of a server that has just begun.

    Args:
        is_ready: tells whether every Envoy has an endpoint for a backend.
        patience: returns for how many seconds requests of a backend wait; 0: its requests need not wait.
        endpoints: returns the hosts and ports of a backend's endpoints.

    """

    def __init__(
        self,
        is_ready: Callable[[str], bool],
        patience: Callable[[str], float],
        endpoints: Callable[[str], Iterable[tuple[str, int]]] = lambda _backend: (),
    ) -> None:
        self._is_ready = is_ready
        self._patience = patience
        self._endpoints = endpoints
        self._backends: dict[str, deque[asyncio.Future[None]]] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}

    @property
    def count(self) -> int:
        """How many requests wait."""
        return sum(map(len, self._backends.values()))

    async def check(self, request: Any, _context: Any = None) -> Any:
        """Answer Envoy: go on, or after all of the route's patience, give up."""
        backend = request.attributes.context_extensions.get("backend", "")
        patience = self._patience(backend)
        if not patience or (self._is_ready(backend) and backend not in self._backends):
            return _GO_ON
        turn = asyncio.get_running_loop().create_future()
        self._backends.setdefault(backend, deque()).append(turn)
        self.look()
        try:
            async with asyncio.timeout(patience):
                await turn
        except TimeoutError:
            return _GO_ON if self._is_ready(backend) else _GIVE_UP
        finally:
            self._leave(backend, turn)
        return _GO_ON

    def look(self) -> None:
        """Let those go on whose backend is ready by now."""
        for backend in self._backends:
            if backend not in self._opening and self._is_ready(backend):
                self._opening[backend] = asyncio.create_task(self._open(backend), name=f"requests for {backend} go on")

    def end(self) -> None:
        """Let everybody go on, for nobody is there any more who could tell when."""
        for task in self._opening.values():
            task.cancel()
        for turns in self._backends.values():
            _let_go(turns, len(turns))
        self._backends.clear()

    async def _open(self, backend: str) -> None:
        """Let those go on who wait for a backend, the first ones first, for as long as it is ready."""
        try:
            while self._is_ready(backend) and not await _listens(self._endpoints(backend)):  # noqa: ASYNC110  another's socket
                await asyncio.sleep(_LOOK_AGAIN)
            while self._is_ready(backend) and (turns := self._backends.get(backend)):
                _let_go(turns, max(_AT_ONCE, len(turns) // _ROUNDS))
                await asyncio.sleep(_PAUSE)
        finally:
            del self._opening[backend]
            if not self._backends.get(backend, True):
                del self._backends[backend]

    def _leave(self, backend: str, turn: asyncio.Future[None]) -> None:
        turns = self._backends.get(backend)
        if turns is None:
            return
        if turn.cancelled() and turn in turns:  # else it has been taken out, and a search would be long in a crowd
            turns.remove(turn)
        if not turns and backend not in self._opening:
            del self._backends[backend]


def _let_go(turns: deque[asyncio.Future[None]], number: int) -> None:
    for _ in range(min(number, len(turns))):
        turn = turns.popleft()
        if not turn.done():
            turn.set_result(None)


async def _listens(endpoints: Iterable[tuple[str, int]]) -> bool:
    """Tell whether somebody may listen: not so if all connections are refused. Only Envoys may reach the others."""
    refused = False
    for host, port in endpoints:
        try:
            async with asyncio.timeout(_ANSWER):
                _, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            refused = True
        except (OSError, ValueError):  # also what takes too long, and what is no name
            return True
        else:
            writer.close()
            return True
    return not refused
