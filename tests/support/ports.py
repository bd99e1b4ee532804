"""Free ports of loopback, handed out so that tests running at the same time never get the same one."""

from __future__ import annotations

import itertools
import os
import random
import socket
from typing import Final

__all__ = ["free_port"]

# Below the range from which the kernel takes ports for outgoing connections and for port 0 (32768 and up), so that
# nobody gets one of these between the check and its use. Each worker of pytest-xdist has a thousand for itself.
_FIRST: Final = 15_000
_WORKERS: Final = 16
_EACH: Final = 1_000

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_start = random.randrange(_EACH)
_ports: Final = (_FIRST + _worker * _EACH + (_start + count) % _EACH for count in itertools.count())


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
