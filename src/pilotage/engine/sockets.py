"""Connected TCP sockets, the way engines want them."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import aiohappyeyeballs

__all__ = ["open_tcp"]

_SECOND_ADDRESS_AFTER: Final = 0.25
"""Seconds after which a name's next address is tried beside the first (RFC 8305)."""

_PROBES: Final = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Probes after 15 s of silence, dead after 30: a firewall that forgets a silent event stream does so for it alone, so
that new connections work and no ping would ever tell. The system's own two hours are too long to be without news."""


async def open_tcp(host: str, port: int) -> socket.socket:
    """Return a connected socket with keep-alive probes on; tries all addresses of a name.

    Raises:
        OSError: no address accepted; ``errno`` is set when all failed alike. ``socket.gaierror`` for an unknown name.

    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sock = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=_SECOND_ADDRESS_AFTER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES.items():
        if hasattr(socket, name):  # not everywhere under this name
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
