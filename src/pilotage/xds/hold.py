"""Requests that wait: Envoy asks whether it may go on with one, and the answer is kept until there is an endpoint."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from envoy.service.auth.v3 import external_auth_pb2
from envoy.type.v3 import http_status_pb2
from google.rpc import status_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Waiting"]

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


class Waiting:
    """Who waits for which site.

    Args:
        is_ready: tells whether every Envoy has an endpoint for a site.
        patience: returns for how many seconds requests of a site wait; 0: its requests need not wait.

    """

    def __init__(self, is_ready: Callable[[str], bool], patience: Callable[[str], float]) -> None:
        self._is_ready = is_ready
        self._patience = patience
        self._sites: dict[str, tuple[asyncio.Event, int]] = {}

    @property
    def count(self) -> int:
        """How many requests wait."""
        return sum(waiting for _, waiting in self._sites.values())

    async def check(self, request: Any, _context: Any = None) -> Any:
        """Answer Envoy: go on, or after all of the route's patience, give up."""
        site = request.attributes.context_extensions.get("site", "")
        patience = self._patience(site)
        if not patience or self._is_ready(site):
            return _GO_ON
        event, waiting = self._sites.get(site) or (asyncio.Event(), 0)
        self._sites[site] = (event, waiting + 1)
        try:
            async with asyncio.timeout(patience):
                await event.wait()
        except TimeoutError:
            return _GIVE_UP
        finally:
            known = self._sites.get(site)
            if known is not None and known[0] is event:
                if known[1] > 1:
                    self._sites[site] = (event, known[1] - 1)
                else:
                    del self._sites[site]
        return _GO_ON

    def look(self) -> None:
        """Let those go on whose site is ready by now."""
        for site in [site for site in self._sites if self._is_ready(site)]:
            self._sites.pop(site)[0].set()

    def end(self) -> None:
        """Let everybody go on, for nobody is there any more who could tell when."""
        for event, _ in self._sites.values():
            event.set()
        self._sites.clear()
