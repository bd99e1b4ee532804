"""Checks paths of URLs. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

__all__ = ["has_dot_segments"]

_SEPARATORS: Final = re.compile(r"[/\\]")


def has_dot_segments(path: str) -> bool:
    r"""Return whether a path has a segment ``.`` or ``..``, as written or once it is decoded.

    ``\`` counts as a slash, and a segment ends before its ``;``, because some servers read paths that way.
    """
    return any(part.partition(";")[0] in (".", "..") for part in _SEPARATORS.split(unquote(path)))
