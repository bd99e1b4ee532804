"""Determines how many file descriptors and how much memory Envoy can use, with defaults for unknown values."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from pathlib import Path
from typing import Final

from pilotage.core.errors import GatewayError

__all__ = ["descriptor_limit", "failure", "memory_limit", "open_descriptors", "raise_descriptor_limit"]

_MANY_DESCRIPTORS: Final = 1 << 20
_USUAL_MEMORY: Final = 2 << 30
_CGROUPS: Final = ("memory.max", "memory/memory.limit_in_bytes")


def raise_descriptor_limit() -> None:
    """Raise the limit on open files of this process and its children to the system's maximum."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descriptor_limit() -> int:
    """Return how many files and sockets this process and its children may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MANY_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def memory_limit(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the usable memory in bytes: the container's limit or the machine's memory, whichever is less.

    Args:
        cgroup: where control groups are mounted.

    """
    found = []
    with contextlib.suppress(ValueError, OSError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in _CGROUPS:
        with contextlib.suppress(ValueError, OSError):  # "max" is not a number
            found.append(int((cgroup / name).read_text()))
    return min((size for size in found if size > 0), default=_USUAL_MEMORY)


def failure(what: str, error: OSError, remedy: str) -> GatewayError:
    """Return an error that says what failed and why, and what to do.

    Args:
        what: what failed, e.g. ``cannot write FILE``.
        error: the reason for the failure.
        remedy: what to do. For a limit on open files and for missing permissions, the error has its own remedy.

    """
    if error.errno == errno.EMFILE:
        limit = descriptor_limit()
        remedy = f"allow this process more than {limit} open files (LimitNOFILE= in a systemd unit, or ulimit -n)"
    elif error.errno == errno.ENFILE:
        remedy = "allow this machine more open files (sysctl fs.file-max)"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = "give pilotage's user the rights for that"
    return GatewayError(f"{what}: {error.strerror or error}", remedy)


def open_descriptors(pid: int) -> int:
    """Return how many files and sockets a process has open; 0 if that is unknown."""
    folder = Path(f"/proc/{pid}/fd")
    with contextlib.suppress(OSError):
        return folder.stat().st_size or sum(1 for _ in folder.iterdir())  # since Linux 6.2, the size is the count
    return 0
