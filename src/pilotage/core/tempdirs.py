"""Creates and checks the directories of unix sockets."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["MAX_SOCKET_PATH", "private_folder_of", "socket_tempdir"]

MAX_SOCKET_PATH: Final = 107
"""Longest path of a unix socket, in bytes. The kernel's ``sun_path`` holds 108 with the final zero."""

_RANDOM_PART: Final = 8  # characters that tempfile appends to the prefix
_FALLBACK: Final = "/tmp"  # noqa: S108  # TemporaryDirectory creates it with mode 0700


def socket_tempdir(prefix: str, longest: str) -> tempfile.TemporaryDirectory[str]:
    """Create a private directory for sockets; leaving the context manager removes it.

    It is created in ``TMPDIR``, or in ``/tmp`` if socket paths below ``TMPDIR`` would be too long for the kernel.

    Args:
        prefix: start of the directory's name.
        longest: the longest socket name to be created in it.

    Raises:
        OSError: the directory cannot be created.

    """
    preferred = tempfile.gettempdir()
    length = len(os.fsencode(preferred)) + len(f"/{prefix}/{longest}") + _RANDOM_PART
    return tempfile.TemporaryDirectory(prefix=prefix, dir=preferred if length <= MAX_SOCKET_PATH else _FALLBACK)


def private_folder_of(path: str) -> None:
    """Make sure that only this user can reach the directory of a socket. Creates it if it is missing.

    A socket's own mode is set only after the socket exists, and other systems ignore it, so its directory protects it.

    Args:
        path: path of the socket.

    Raises:
        PermissionError: other users own the directory or can use it.
        OSError: the directory cannot be created.

    """
    folder = Path(path).parent
    if not folder.is_dir():
        folder.parent.mkdir(mode=0o755, exist_ok=True)
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(1, f"the folder {folder} must be a real one that belongs to this user, with mode 0700")
