"""Detects connections to this process that the peer has closed in both directions. Linux only."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Hangups"]


class Hangups:
    """Detects connections that Envoy has closed in both directions.

    A stream that ends may have been closed in one direction or in both. asyncio reports both cases in the same way, and
    then nothing more. The kernel tells them apart (EPOLLHUP).
    """

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._epoll = select.epoll()
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._check)

    def watch(self, descriptor: int, callback: Callable[[], object]) -> None:
        """Call a function once the peer has closed a socket in both directions."""
        self._epoll.register(descriptor, 0)
        self._callbacks[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        """Stop watching a socket. Call this before closing the socket."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Stop watching."""
        asyncio.get_running_loop().remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _check(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            callback = self._callbacks.get(descriptor)
            self.forget(descriptor)
            if callback is not None:
                callback()
