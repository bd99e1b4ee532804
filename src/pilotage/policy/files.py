"""Restricts the files named in labels to folders that the operator allows, and reads them.

This module uses the file system, but its results for a forbidden path do not reveal whether the file exists.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from pilotage.policy.globs import matches_path

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["is_below", "read_below"]

MAX_FILE: Final = 1 << 20
"""Size limit of files named in labels, in bytes."""

_WITHOUT_WAITING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Return whether a path is one of the folders or lies below one, after resolving symbolic links in both.

    Args:
        path: the path as written in a label.
        folders: absolute paths of folders; ``*`` and ``?`` in them match anything but slashes.

    """
    return _resolved_below(path, folders) is not None


def _resolved_below(path: str, folders: Iterable[str]) -> str | None:
    if not path.startswith("/") or "\0" in path or len(path) > os.pathconf("/", "PC_PATH_MAX"):
        return None
    allowed = [os.path.realpath(folder) for folder in folders]
    if not allowed:
        return None  # decided without the file system
    found = os.path.realpath(path)
    return found if any(matches_path(folder, found) for folder in allowed) else None


def read_below(path: str, folders: Iterable[str]) -> bytes | None:
    """Read a file if it lies below one of the folders. This does not rely on an earlier check by :func:`is_below`.

    Each part of the resolved path is opened in turn without following links, so a link that is swapped in after the
    check has no effect.

    Returns:
        The file's content; ``None`` if the path is not a readable regular file of at most 1 MiB below one of the
        folders.

    """
    found = _resolved_below(path, folders)
    if found is None:
        return None
    *parents, name = found.split("/")[1:]
    with contextlib.ExitStack() as stack:
        try:
            folder = os.open("/", os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, folder)
            for parent in parents:
                folder = os.open(parent, os.O_DIRECTORY | _WITHOUT_WAITING, dir_fd=folder)
                stack.callback(os.close, folder)
            file = os.open(name, _WITHOUT_WAITING, dir_fd=folder)
            stack.callback(os.close, file)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return None
            content = b""
            while piece := os.read(file, MAX_FILE + 1 - len(content)):
                content += piece
        except (OSError, ValueError):
            return None
    return content if len(content) <= MAX_FILE else None
