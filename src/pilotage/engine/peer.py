"""Finds out which user's engine is behind a Unix socket.

The containers of an ordinary user's engine are in a network namespace of their own, which the host cannot reach.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

__all__ = ["is_rootless"]

_OVERFLOW: Final = 65534
"""The user ID that the kernel shows for users of other user namespaces, including root, and for nobody."""


def is_rootless(path: str, sock: socket.socket | None, *, podman: bool) -> bool:
    """Return whether an engine runs as an ordinary user.

    It does if its socket, with links resolved, has one of the usual paths of rootless engines. For any other path, the
    user of the listening process decides; if the system does not report that user, the owner of the socket decides.
    An ordinary user may also run a proxy in front of root's Docker. Unlike rootless Docker, such a proxy runs in the
    host's user namespace, so it does not count as rootless.

    Args:
        path: path of the socket.
        sock: a socket connected to the engine.
        podman: whether the engine is Podman. The listener's user namespace is then ignored, because systemd may be the
            listener.

    """
    real = os.path.realpath(path)
    if real.startswith("/run/user/") or real.endswith("/.docker/run/docker.sock"):
        return True
    pid, uid = _listener(real, sock)
    if uid in (0, _OVERFLOW):
        return False
    return podman or not _is_in_our_namespace(pid)


def _listener(path: str, sock: socket.socket | None) -> tuple[int, int]:
    """Return the process ID and the user ID of the listener on a socket, each 0 if unknown."""
    try:
        if sock is not None and hasattr(socket, "SO_PEERCRED"):
            pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return pid, uid
        return 0, os.stat(path).st_uid  # noqa: PTH116
    except OSError:
        return 0, 0


def _is_in_our_namespace(pid: int) -> bool:
    """Return whether a process is in this process's user namespace. False if that cannot be determined."""
    try:
        return os.readlink(f"/proc/{pid}/ns/user") == os.readlink("/proc/self/ns/user")  # noqa: PTH115
    except OSError:
        return False
