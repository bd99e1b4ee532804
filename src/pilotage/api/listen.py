"""Where the daemon listens: addresses as people write them, sockets and ports taken with care."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import stat
from pathlib import Path

import msgspec
from aiohttp import web

from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.engine.address import bracketed

__all__ = ["Listen", "is_loopback", "parse_listen", "port_error", "remove_socket", "start_socket"]


class Listen(msgspec.Struct, frozen=True):
    """Where the API listens: a unix socket, or host and port.

    Attributes:
        path: of the socket; ``""`` for TCP.
        host: name or address.
        port: 0 for any that is free.

    """

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def is_local(self) -> bool:
        """Whether only this machine gets there."""
        return bool(self.path) or is_loopback(self.host)

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"http://{bracketed(self.host)}:{self.port}"


def parse_listen(text: str) -> Listen:
    """Read ``unix:///path``, ``host:port``, ``:port`` (loopback) or ``port`` (loopback).

    Raises:
        ConfigError: it is none of these.

    """
    if text.startswith("unix://"):
        path = text.removeprefix("unix://")
        if path.startswith("/") and len(os.fsencode(path)) < 108:
            return Listen(path=path)
        raise ConfigError([_fault(text, "write unix:// and an absolute path of at most 107 bytes")])
    host, _, port = text.removeprefix("http://").rstrip("/").rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError([_fault(text, "write HOST:PORT, such as 127.0.0.1:8888, or unix:///run/pilotage.sock")])
    return Listen(host=host, port=int(port))


def _fault(text: str, hint: str) -> Problem:
    return Problem(message=f"{shorten(text)!r} is no place for the API to listen", hint=hint, value=shorten(text))


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address means this machine alone."""
    try:
        return ipaddress.ip_address(host.split("%", maxsplit=1)[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


async def start_socket(runner: web.AppRunner, path: str) -> None:
    """Listen on a unix socket that its owner and group may open; what a killed daemon left there is replaced.

    Raises:
        OSError: another daemon listens there, or the socket cannot be made.

    """
    if _is_socket(path) and await _answers(path):
        raise OSError(98, "another daemon listens there")
    _make_way(Path(path))
    mask = os.umask(0o117)  # never, not for a moment, open to others
    try:
        await web.UnixSite(runner, path).start()
    finally:
        os.umask(mask)


def _is_socket(path: str) -> bool:
    """Tell whether there is a socket.

    Raises:
        OSError: there is something else.

    """
    try:
        kind = Path(path).lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(kind):
        raise FileExistsError(17, "there is a file that is no socket")
    return True


def _make_way(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(mode=0o755, exist_ok=True)


def remove_socket(path: str) -> None:
    """Remove a socket that nobody listens on any more."""
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
    """Return why nothing can listen on a TCP port of this machine, ``""`` if something can.

    Envoy shares its ports with whoever asks (``SO_REUSEPORT``), another Envoy even: it would not notice. We do.
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
