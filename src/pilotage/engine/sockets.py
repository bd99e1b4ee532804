"""Opens TCP sockets with the options that engine connections need."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Final

import aiohappyeyeballs

__all__ = ["failure_text", "open_tcp"]

_HAPPY_EYEBALLS_DELAY: Final = 0.25
"""Seconds before the next address of a host name is tried in parallel (RFC 8305)."""

_KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Probe after 15 s of silence, fail after 30 s. A firewall may drop only the silent event stream, while pings over new
connections still succeed. The system's default of two hours is too long."""


async def open_tcp(host: str, port: int) -> socket.socket:
    """Return a connected socket with keep-alive enabled. Tries all addresses of a host name.

    Raises:
        OSError: no address accepted the connection; ``errno`` is set if all failed alike. ``socket.gaierror`` for an
            unknown name.

    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sock = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):  # names differ between systems
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def failure_text(error: OSError | ValueError, limit: float) -> str:
    """Return why a connection failed, in lower case and without addresses.

    Args:
        error: the error; a ``ValueError`` comes from a host name that is not valid.
        limit: the timeout in seconds, which the text for a TimeoutError mentions.

    """
    if isinstance(error, TimeoutError) and not error.errno:
        return f"no answer within {limit:g} s"
    if isinstance(error, ssl.SSLError):  # its errno, like that of the next class, is not one of the system's
        return (error.reason or str(error)).lower().replace("_", " ")
    if isinstance(error, ValueError):
        return "not a valid host name"
    if isinstance(error, socket.gaierror):
        return str(error.strerror).lower()
    return os.strerror(error.errno).lower() if error.errno else str(error)
