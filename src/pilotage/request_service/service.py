"""Passes each check to its middleware, and limits how many checks run at once and for how long."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from pilotage.request_service.asked import read_check
from pilotage.xds.checks import denial

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pilotage.request_service.asked import Asked

    Handler = Callable[[Asked], Awaitable[Any]]

__all__ = ["RequestService"]

log = logging.getLogger(__name__)

_MOST: Final = 1000
"""Maximum number of checks at the same time. Further requests get 503, so that clients cannot fill the memory.

A route may not use more places than are still free. If its OpenID provider does not answer, its clients therefore
cannot block the checks of other routes.
"""

_LONGEST: Final = 20.0
"""Seconds that a middleware may take to answer."""

_QUIET: Final = 60.0
"""Seconds between two log lines about failures of one middleware, because clients can repeat requests."""


class RequestService:
    """Answers checks from Envoys. If a check cannot be answered, the client gets 503.

    Args:
        handlers: name of a middleware -> function that answers its checks with an ext_authz ``CheckResponse``.
        most: maximum number of checks at the same time.
        longest: seconds after which a check is refused.

    """

    def __init__(self, handlers: Mapping[str, Handler], *, most: int = _MOST, longest: float = _LONGEST) -> None:
        self._handlers = handlers
        self._most = most
        self._longest = longest
        self._running = 0
        self._of_route: Counter[str] = Counter()
        self._reported: dict[str, float] = {}

    async def check(self, request: Any) -> Any:
        """Return the answer to a check."""
        asked = read_check(request)
        handler = self._handlers.get(asked.service)
        if handler is None:
            return _unavailable("The gateway could not check this request.")
        if self._of_route[asked.route] >= self._most - self._running:
            return _unavailable("Too many requests are waiting for this check.")
        self._running += 1
        self._of_route[asked.route] += 1
        try:
            async with asyncio.timeout(self._longest):
                return await handler(asked)
        except TimeoutError:
            self._report(asked.service, "no answer in time")
            return _unavailable("The gateway could not check this request in time.")
        except Exception as error:
            self._report(asked.service, type(error).__name__)
            log.debug("the check of a request failed", exc_info=error)
            return _unavailable("The gateway could not check this request.")
        finally:
            self._running -= 1
            self._of_route[asked.route] -= 1
            if not self._of_route[asked.route]:
                del self._of_route[asked.route]

    def _report(self, service: str, why: str) -> None:
        now = time.monotonic()
        if now - self._reported.get(service, -_QUIET) >= _QUIET:
            self._reported[service] = now
            log.error("requests are refused, because the middleware %s failed: %s", service, why)


def _unavailable(sentence: str) -> Any:
    headers = [
        ("content-type", "text/plain; charset=utf-8"),
        ("cache-control", "no-store"),
        ("retry-after", "5"),
    ]
    return denial(503, headers, f"{sentence}\n")
