"""Detects connections to this process that the peer has closed in both directions. Linux only."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Hangups"]


class Hangups:
    """Watches sockets, and calls a function once Envoy has closed a connection in both directions.

    asyncio reports the end of a stream in the same way whether the peer has closed one direction or both, and reports
    nothing after that. The kernel distinguishes the two cases (EPOLLHUP).
    """

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._epoll = select.epoll()
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._check)

    def watch(self, descriptor: int, callback: Callable[[], object]) -> None:
        """Call a function once, as soon as the peer has closed its connection to a socket in both directions."""
        self._epoll.register(descriptor, 0)
        self._callbacks[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        """Stop watching a socket, if it is being watched. Call this before closing the socket."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Stop watching all sockets."""
        asyncio.get_running_loop().remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _check(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            callback = self._callbacks.get(descriptor)
            self.forget(descriptor)
            if callback is not None:
                callback()
