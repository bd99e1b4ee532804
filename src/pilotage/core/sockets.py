"""Binds private unix sockets, and limits how many descriptors a part of pilotage may use."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["bind_private", "permissions", "share_of_descriptors"]


@contextlib.contextmanager
def permissions(mode: int) -> Iterator[None]:
    """Limit the permissions of files and sockets created in this context, so that others can never open them.

    Args:
        mode: the permissions of a new socket, such as ``0o600``.

    """
    mask = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(mask)


def bind_private(path: Path) -> socket.socket:
    """Return a unix socket, bound to a new file that only this user can connect to.

    Raises:
        OSError: the socket cannot be created.

    """
    bound = socket.socket(socket.AF_UNIX)
    try:
        with permissions(0o600):
            bound.bind(str(path))
    except BaseException:
        bound.close()
        raise
    return bound


def share_of_descriptors(part: int, most: int) -> int:
    """Return a share of the descriptors that this process may open, at least 1.

    Args:
        part: the divisor: 8 for an eighth.
        most: the largest number to return.

    """
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most if descriptors == resource.RLIM_INFINITY else max(1, min(most, descriptors // part))
