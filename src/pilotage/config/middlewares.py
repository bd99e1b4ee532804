"""Reads the files of middlewares that the configuration lists."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilotage.core.problems import Problem
from pilotage.core.textfile import UnreadableFile, read_text
from pilotage.routes import Compositions, read_compositions

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["read_middlewares"]

_MOST_FILES: Final = 100


def read_middlewares(patterns: Iterable[str]) -> tuple[Compositions, tuple[Problem, ...]]:
    """Read files of middlewares.

    Args:
        patterns: paths of files, and patterns such as ``/etc/pilotage/middlewares/*.yml``.

    Returns:
        The middlewares, and warnings about errors in the files. Routes that name a list with an error are
        not served; all others are.

    """
    names: dict[str, None] = {}
    warnings = []
    for pattern in patterns:
        found = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207  # a whole pattern
        names.update(dict.fromkeys(found))
    texts = []
    for name in list(names)[:_MOST_FILES]:
        try:
            texts.append((name, read_text(Path(name))))
        except UnreadableFile as error:
            hint = error.hint or "check the name below providers.middlewares"
            warnings.append(Problem(message=error.message, hint=hint, file=name, severity="warning"))
    if len(names) > _MOST_FILES:
        text = f"there are more than {_MOST_FILES} files of middlewares; the others have no effect"
        warnings.append(Problem(message=text, hint="put several lists into one file", severity="warning"))
    compositions, problems = read_compositions(texts)
    return compositions, (*warnings, *problems)
