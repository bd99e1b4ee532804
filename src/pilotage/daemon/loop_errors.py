"""Handles errors of the event loop. Reports too many open files once a minute, in one line."""

from __future__ import annotations

import logging
import resource
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

__all__ = ["LoopErrors"]

log = logging.getLogger(__name__)

_PAUSE: Final = 60.0  # seconds
_NO_ACCEPT: Final = "socket.accept() out of system resource"
"""The message with which asyncio reports, a hundred times a second and with a traceback, that it cannot accept."""


class LoopErrors:
    """The exception handler of the daemon's event loop."""

    def __init__(self) -> None:
        self._last = -_PAUSE

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report an error of the event loop."""
        if context.get("message") != _NO_ACCEPT:
            loop.default_exception_handler(context)
            return
        now = time.monotonic()
        if now - self._last < _PAUSE:
            return
        self._last = now
        reason = getattr(context.get("exception"), "strerror", None) or "out of resources"
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        log.error(
            "cannot accept connections: %s; the limit is %d open files; raise it with 'ulimit -n' or LimitNOFILE=",
            reason,
            limit,
        )
