"""Reads the setting ``error_pages``: the folder of the pages for the middleware ``error_page``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["error_pages_folder"]


def error_pages_folder(name: str, path: Callable[[str], Path], warn: Callable[[tuple[str], str, str], None]) -> str:
    """Return the absolute path of the folder; ``""`` if none is configured.

    Args:
        name: the setting.
        path: resolves a file name in the configuration.
        warn: receives the place, message and hint of a warning.

    """
    if not name.strip():
        return ""
    folder = path(name).absolute()
    if not folder.is_dir():
        warn(
            ("error_pages",),
            "this folder does not exist, so there are no error pages",
            "create it, or correct the name",
        )
    return str(folder)
