"""Folders for temporary files that are to hold unix sockets."""

from __future__ import annotations

import os
import tempfile
from typing import Final

__all__ = ["socket_folder"]

_ROOM: Final = 107  # bytes for the path of a socket
_RANDOM: Final = 8  # letters that the folder's name gets
_SYSTEMS: Final = "/tmp"  # noqa: S108  # what is made there is private


def socket_folder(prefix: str, longest: str) -> tempfile.TemporaryDirectory[str]:
    """Make a private folder for sockets; the context manager removes it.

    Where the path of the user's folder for temporary files (``TMPDIR``) leaves no room for a socket's, it is made in
    that of the system.

    Args:
        prefix: how its name begins.
        longest: the longest name of a socket in it.

    Raises:
        OSError: no folder can be made.

    """
    usual = tempfile.gettempdir()
    fits = len(os.fsencode(usual)) + len(f"/{prefix}/{longest}") + _RANDOM <= _ROOM
    return tempfile.TemporaryDirectory(prefix=prefix, dir=usual if fits else _SYSTEMS)
