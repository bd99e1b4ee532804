"""Free ports of loopback, handed out so that tests running at the same time never get the same one."""

from __future__ import annotations

import itertools
import random
import socket
from typing import Final

__all__ = ["free_port"]

# Below the range from which the kernel takes ports for outgoing connections and for port 0 (32768 and up), so that
# nobody gets one of these between the check and its use.
_FIRST: Final = 15_000
_EACH: Final = 500
_BLOCKS: Final = 35


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """Return a port of loopback on which nothing listens.

    Args:
        kind: ``socket.SOCK_STREAM`` for TCP, ``socket.SOCK_DGRAM`` for UDP.

    """
    for port in _ports:
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError


def _own_block() -> tuple[socket.socket, int]:
    """Return the first port of a block that belongs to this process until it ends, and the socket that reserves it.

    The processes that need a block are the workers of pytest-xdist, and those of other test runs on this machine. Two
    Envoys that got the same port would not notice, but share its requests, because they listen with SO_REUSEPORT.
    """
    for last in range(_FIRST + _EACH - 1, _FIRST + _BLOCKS * _EACH, _EACH):
        lock = socket.socket()
        try:
            lock.bind(("127.0.0.1", last))
        except OSError:
            lock.close()
        else:
            return lock, last - _EACH + 1
    raise AssertionError("each block of ports belongs to a test run; end one of them")


_LOCK, _first = _own_block()  # now, so that no test seems to have opened the socket
_start: Final = random.randrange(_EACH - 1)
_ports: Final = (_first + (_start + count) % (_EACH - 1) for count in itertools.count())
