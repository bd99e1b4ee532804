"""Handles the addresses that the daemon listens on: parses them, creates unix sockets, and checks for free ports."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.sockets import permissions
from pilotage.core.text import shorten
from pilotage.engine.address import bracketed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Listen", "is_loopback", "parse_listen", "port_error", "remove_socket", "start_socket"]


class Listen(msgspec.Struct, frozen=True):
    """An address of the API: a unix socket, or host and port.

    Attributes:
        path: path of the socket; ``""`` for TCP.
        host: host name or IP address; ``""`` for a unix socket.
        port: TCP port; 0 for any free port.

    """

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine can connect to the address."""
        return bool(self.path) or is_loopback(self.host)

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"http://{bracketed(self.host)}:{self.port}"


def parse_listen(text: str) -> Listen:
    """Parse ``unix:///path``, ``host:port``, ``:port`` or ``port``. If there is no host, 127.0.0.1 is used.

    Raises:
        ConfigError: the text has none of these forms, the path is longer than 107 bytes, or the port is above 65535.

    """
    if text.startswith("unix://"):
        path = text.removeprefix("unix://")
        if path.startswith("/") and len(os.fsencode(path)) < 108:
            return Listen(path=path)
        raise ConfigError([_error(text, "write unix:// and an absolute path of at most 107 bytes")])
    host, _, port = text.removeprefix("http://").rstrip("/").rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError([_error(text, "write HOST:PORT, such as 127.0.0.1:8888, or unix:///run/pilotage.sock")])
    return Listen(host=host, port=int(port))


def _error(text: str, hint: str) -> Problem:
    return Problem(message=f"{shorten(text)!r} is not an address for the API", hint=hint, value=shorten(text))


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address, ``localhost`` or a name below ``.localhost``."""
    try:
        return ipaddress.ip_address(host.split("%", maxsplit=1)[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


async def start_socket(factory: Callable[[], asyncio.Protocol], path: str, backlog: int = 64) -> asyncio.Server:
    """Listen on a unix socket that its owner and group can use. Replace a socket that a killed daemon left behind.

    Args:
        factory: returns the protocol for a new connection.
        path: path of the socket.
        backlog: how many connections may wait to be accepted.

    Raises:
        OSError: another daemon is listening there, the path is not a socket, or the socket cannot be created.

    """
    if _is_socket(path) and await _answers(path):
        raise OSError(98, "another daemon listens there")
    _make_way(Path(path))
    with permissions(0o660):
        return await asyncio.get_running_loop().create_unix_server(factory, path, backlog=backlog)


def _is_socket(path: str) -> bool:
    """Return whether a socket exists at the path; ``False`` if nothing exists there.

    Raises:
        OSError: something other than a socket exists there.

    """
    try:
        kind = Path(path).lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(kind):
        raise FileExistsError(17, "the path exists and is not a socket")
    return True


def _make_way(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(mode=0o755, exist_ok=True)


def remove_socket(path: str) -> None:
    """Remove the file of a closed socket. Errors are ignored."""
    with contextlib.suppress(OSError):
        Path(path).unlink()


async def _answers(path: str) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


def port_error(host: str, port: int) -> str:
    """Return why this process cannot listen on a TCP port; ``""`` if it can.

    Envoy itself would not report a port that another Envoy uses: both listen with ``SO_REUSEPORT`` and would share the
    port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error.strerror or str(error)
    return ""
