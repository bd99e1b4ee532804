"""Creates temporary directories for unix sockets."""

from __future__ import annotations

import os
import tempfile
from typing import Final

__all__ = ["socket_tempdir"]

_MAX_SOCKET_PATH: Final = 107  # bytes; sun_path holds 108 with its final zero
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
    return tempfile.TemporaryDirectory(prefix=prefix, dir=preferred if length <= _MAX_SOCKET_PATH else _FALLBACK)
