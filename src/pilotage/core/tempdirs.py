"""Creates and checks directories for unix sockets, and removes those that killed processes left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_SOCKET_PATH", "lock_file", "owned_tempdir", "private_folder_of", "socket_tempdir"]

MAX_SOCKET_PATH: Final = 107
"""Longest path of a unix socket, in bytes. The kernel's ``sun_path`` holds 108 bytes, including the final null byte."""

_RANDOM_PART: Final = 8  # characters that tempfile appends to the prefix
_FALLBACK: Final = "/tmp"  # noqa: S108  # TemporaryDirectory creates it with mode 0700
_LOCK: Final = "owner.lock"


def socket_tempdir(prefix: str, longest: str) -> tempfile.TemporaryDirectory[str]:
    """Create a private directory for sockets; leaving the context manager removes it.

    The directory is created in ``TMPDIR``, or in ``/tmp`` if socket paths below ``TMPDIR`` would be too long for the
    kernel.

    Args:
        prefix: start of the directory's name.
        longest: the longest socket name to be created in it.

    Raises:
        OSError: the directory cannot be created.

    """
    preferred = tempfile.gettempdir()
    length = len(os.fsencode(preferred)) + len(f"/{prefix}/{longest}") + _RANDOM_PART
    return tempfile.TemporaryDirectory(prefix=prefix, dir=preferred if length <= MAX_SOCKET_PATH else _FALLBACK)


@contextlib.contextmanager
def owned_tempdir(prefix: str, longest: str) -> Iterator[Path]:
    """Create a directory like :func:`socket_tempdir`. First remove those that this user's killed processes left.

    The owner holds a lock in its directory, and the kernel releases the lock when the process ends. A directory whose
    lock is free therefore has no owner. A process ID could not show whether the owner still runs, because each
    container numbers its processes separately. Directories without a lock are left alone.

    Raises:
        OSError: the directory cannot be created.

    """
    _sweep(prefix)
    with socket_tempdir(prefix, longest) as name:
        folder = Path(name)
        unlocked = folder / f"{_LOCK}.new"
        lock = lock_file(unlocked)
        try:
            unlocked.rename(folder / _LOCK)  # already locked, so it does not look abandoned
            yield folder
        finally:
            if lock is not None:
                os.close(lock)


def lock_file(path: Path, *, create: bool = True) -> int | None:
    """Lock a file until its descriptor is closed or this process ends; return the descriptor.

    Returns:
        ``None`` if another process holds the lock.

    Raises:
        OSError: the file cannot be opened or locked.

    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sweep(prefix: str) -> None:
    """Remove this user's directories whose names start with a prefix and whose owner process has ended."""
    for place in {tempfile.gettempdir(), _FALLBACK}:
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for name in [entry.name for entry in entries if entry.name.startswith(prefix)]:
                _remove_abandoned(Path(place, name))


def _remove_abandoned(folder: Path) -> None:
    with contextlib.suppress(OSError):
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != 0o700:
            return
        lock = lock_file(folder / _LOCK, create=False)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def private_folder_of(path: str) -> None:
    """Make sure that only this user can reach the directory of a socket. Create the directory if it is missing.

    The directory protects the socket, because a socket's own mode is set only after the socket exists, and some systems
    ignore it.

    Args:
        path: path of the socket.

    Raises:
        PermissionError: another user owns the directory or can use it.
        OSError: the directory cannot be created.

    """
    folder = Path(path).parent
    if not folder.is_dir():
        folder.parent.mkdir(mode=0o755, exist_ok=True)
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(1, f"the folder {folder} must belong to this user, have mode 0700 and not be a link")
