"""Finds the files to check in a folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from pilotage.core.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["yaml_files"]

_ENDINGS: Final = (".yml", ".yaml")
_MAX_FILES: Final = 1_000
"""Maximum number of YAML files in a folder and the folders below it."""
_SKIPPED: Final = frozenset({"node_modules", "__pycache__", "vendor"})


def yaml_files(folder: str, problems: list[Problem]) -> Iterator[str]:
    """Yield the names of the YAML files in a folder and in the folders below it, in alphabetical order.

    Hidden folders, ``node_modules`` and ``vendor`` are skipped, and symbolic links to folders are not followed.

    Args:
        folder: the name of the folder.
        problems: receives a problem for each folder that cannot be listed, and one if there are more than 1,000 files.

    """

    def complain(error: OSError) -> None:
        place = str(error.filename or folder)
        problems.append(Problem(message=f"cannot be listed: {error.strerror or error}", file=place))

    number = 0
    for path, folders, names in os.walk(folder, onerror=complain):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED)
        for name in sorted(names):
            if not name.endswith(_ENDINGS) or name.startswith("."):
                continue
            if number == _MAX_FILES:
                message = f"has more than {_MAX_FILES:,} YAML files; the others are not checked"
                problems.append(Problem(message=message, hint="check a smaller folder", file=folder))
                return
            number += 1
            yield os.path.normpath(os.path.join(path, name))  # noqa: PTH118  # "./a" becomes "a"
