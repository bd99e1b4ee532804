"""Checks whether the gateway can listen on its ports, and finds the program that holds one."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.api.listen import port_error
from pilotage.cli.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.cli.doctor.finding import State

__all__ = ["Holder", "check_port", "find_holder", "user_name"]

_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENING: Final = "0A"
_MOST_ANCESTORS: Final = 64


class Holder(msgspec.Struct, frozen=True):
    """The program that listens on a port.

    Attributes:
        pid: its process ID; 0 if this user may not see it.
        name: its name; ``""`` if this user may not see it.
        user: the user that it runs as.

    """

    pid: int
    name: str
    user: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid}, user {self.user})" if self.pid else f"a program of user {self.user}"


def check_port(name: str, host: str, port: int, *, daemon: int = 0, keeps_envoy: bool = False) -> Finding:
    """Check whether a program of this user can listen on a TCP port.

    Args:
        name: the setting that has the port, such as ``gateway.http``.
        host: the IP address to listen on.
        port: the port.
        daemon: process ID of the running daemon; 0 if there is none, -1 if it is unknown.
        keeps_envoy: whether the daemon's Envoy may be the child of another process.

    """
    check, place = f"port {port} ({name})", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    why = port_error(host, port)
    if not why:
        return Finding(check, "ok", f"{place} is free")
    holder = find_holder(port)
    is_denied = why == os.strerror(errno.EACCES)
    if is_denied and not (daemon and holder):
        remedy = f"sudo sysctl net.ipv4.ip_unprivileged_port_start={port}, or grant CAP_NET_BIND_SERVICE"
        return Finding(check, "problem", f"this user may not listen on {place}, which is below 1024", remedy)
    if not is_denied and why != os.strerror(errno.EADDRINUSE):
        remedy = f"set {name} to an address of this machine"
        return Finding(check, "problem", f"cannot listen on {place}: {why}", remedy)
    if holder is not None and holder.pid and daemon:
        is_kept = keeps_envoy and holder.name.startswith("envoy")
        if is_kept or daemon in _ancestors(holder.pid):
            return Finding(check, "ok", f"{place} belongs to the running pilotage: {holder}")
    if holder is None or not holder.pid:
        held = "" if holder is None else f" by {holder}"
        remedy = f"see who listens: sudo ss -ltnp 'sport = :{port}'; stop that program, or change {name}"
        state: State = "warning" if daemon else "problem"  # it may be the daemon's own Envoy
        return Finding(check, state, f"{place} is in use{held}", remedy)
    return Finding(check, "problem", f"{place} is in use by {holder}", f"stop it: kill {holder.pid}; or change {name}")


def find_holder(port: int, tables: tuple[Path, ...] = _TABLES) -> Holder | None:
    """Return the first program that listens on a TCP port; ``None`` if the kernel lists none.

    Args:
        port: the port.
        tables: the kernel's lists of sockets.

    """
    users = dict(_listeners(port, tables))
    for folder in Path("/proc").glob("[0-9]*/fd") if users else ():
        with contextlib.suppress(OSError):  # the process has ended, or belongs to another user
            if owned := users.keys() & set(_sockets(folder)):
                name = (folder.parent / "comm").read_text(encoding="utf-8", errors="replace").strip()
                return Holder(int(folder.parent.name), name, users[owned.pop()])
    return next((Holder(0, "", user) for user in users.values()), None)


def _sockets(folder: Path) -> Iterator[str]:
    """Yield the inodes of the sockets that a process has open."""
    for handle in list(folder.iterdir()):
        with contextlib.suppress(OSError):  # it has been closed
            yield str(handle.readlink()).removeprefix("socket:[").removesuffix("]")


def _listeners(port: int, tables: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """Yield the inode and the user of each socket that listens on a port (proc_net_tcp in the kernel's documents)."""
    for table in tables:
        with contextlib.suppress(OSError):
            for line in table.read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9], user_name(int(fields[7]))


def user_name(uid: int) -> str:
    """Return the name of a user, or else the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _ancestors(pid: int) -> list[int]:
    """Return a process, its parent, and so on."""
    found: list[int] = []
    while pid > 0 and len(found) < _MOST_ANCESTORS:
        found.append(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return found
