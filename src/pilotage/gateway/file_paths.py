"""Finds and opens the files that a file server returns. The functions block, so call them in a thread."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

import msgspec

from pilotage.policy import is_below

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FileRoot", "Found", "find", "split_path"]

_WITHOUT_WAITING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW
_MOST_PARTS: Final = 64
_INDEX: Final = "index.html"
_PUBLIC: Final = ".well-known"
"""The only name with a leading dot that is served (RFC 8615). Others, such as ``.git``, are rarely for clients."""


class FileRoot(msgspec.Struct, frozen=True):
    """The folder that a route with scheme fileserver serves.

    Attributes:
        root: the folder.
        index: path of the file that is returned for the folder; relative to the folder, but with a leading slash.
        spa: whether the index is returned for all paths that do not exist.
        folders: the folder must lie below one of these; ``None`` for a route from a file, which may use any folder.

    """

    root: str
    index: str = "/index.html"
    spa: bool = False
    folders: tuple[str, ...] | None = None


class Found(msgspec.Struct, frozen=True):
    """An open file, or a folder that was requested without the final slash.

    Attributes:
        name: the file's name, from which its type follows.
        descriptor: the open file, which the caller closes; -1 for a folder.
        size: its size in bytes.
        modified: when it was last changed, nanoseconds since 1970.

    """

    name: str
    descriptor: int = -1
    size: int = 0
    modified: int = 0


def split_path(path: str) -> tuple[list[str], bool] | None:
    """Return the decoded parts of a request's path, and whether it ends with a slash; ``None`` if it names no file.

    Args:
        path: the path as requested, without the query.

    """
    *parts, last = path.removeprefix("/").split("/")
    if len(parts) > _MOST_PARTS:
        return None
    names = [os.fsdecode(unquote_to_bytes(part)) for part in (*parts, *([last] if last else []))]
    if any(not name or "/" in name or "\0" in name or (name[0] == "." and name != _PUBLIC) for name in names):
        return None
    return names, not last


def find(root: FileRoot, names: Sequence[str], *, slash: bool) -> Found | None:
    """Open the file for a request.

    Args:
        root: what is served.
        names: from :func:`split_path`.
        slash: whether the path ends with a slash.

    Returns:
        The file; ``None`` if there is none. Symbolic links that lead out of the folder count as missing, even if they
        are swapped in while the file is opened.

    """
    base = os.path.realpath(root.root)
    if root.folders is not None and not is_below(base, root.folders):
        return None
    index = split_path(root.index)
    tries: list[Sequence[str]] = [] if slash else [names]
    if slash:
        tries += [[*names, *index[0]]] if index is not None else []
        tries.append([*names, _INDEX])
    elif root.spa and names:
        tries.append([*names[:-1], f"{names[-1]}.html"])
    for each in tries:
        found = _open_below(base, each)
        if found is not None and (found.descriptor >= 0 or each is names):
            return found
    return _open_file(base, index[0]) if root.spa and index is not None else None


def _open_file(base: str, names: Sequence[str]) -> Found | None:
    found = _open_below(base, names)
    return found if found is not None and found.descriptor >= 0 else None


def _open_below(base: str, names: Sequence[str]) -> Found | None:
    """Open a path below ``base``, whose own path has no links. Each part is opened in turn, without following links."""
    try:
        resolved = os.path.realpath(Path(base, *names), strict=True)
    except (OSError, ValueError):
        return None
    if resolved != base and not resolved.startswith(base.rstrip("/") + "/"):
        return None
    with contextlib.ExitStack() as stack:
        try:
            at = os.open("/", os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, at)
            *parents, name = resolved.split("/")[1:]
            for parent in parents:
                at = os.open(parent, os.O_DIRECTORY | _WITHOUT_WAITING, dir_fd=at)
                stack.callback(os.close, at)
            descriptor = os.open(name or ".", _WITHOUT_WAITING, dir_fd=at)
        except OSError:
            return None
        about = os.fstat(descriptor)
        if stat.S_ISREG(about.st_mode):
            return Found(names[-1] if names else name, descriptor, about.st_size, about.st_mtime_ns)
        os.close(descriptor)
        return Found(name) if stat.S_ISDIR(about.st_mode) else None
