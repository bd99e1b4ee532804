"""Notices which connections to this process have been closed altogether. Linux only."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Hangups"]


class Hangups:
    """Notices which connections Envoy has closed altogether.

    A stream that ends may have been closed in one direction or in both. asyncio reports both alike, and then nothing
    more; the kernel tells them apart (EPOLLHUP).
    """

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._epoll = select.epoll()
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._check)

    def watch(self, descriptor: int, callback: Callable[[], object]) -> None:
        """Call a function once a socket has been closed."""
        self._epoll.register(descriptor, 0)
        self._callbacks[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        """Stop watching a socket, before it is closed here."""
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
