"""Do things without the permission to."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["as_nobody", "open_to_everybody", "public_folder"]


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """A folder with a short path that every user may enter; pytest's are private."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def open_to_everybody(folder: Path) -> None:
    """Let every user enter a folder of pytest's and those around it, up to the one for all temporary files."""
    while str(folder) != os.environ["PYTEST_DEBUG_TEMPROOT"]:
        folder.chmod(0o755)
        folder = folder.parent


@contextlib.contextmanager
def as_nobody(*, keep_groups: bool = True) -> Iterator[None]:
    """Run the block as the user nobody, if the tests run as root. Its groups are still those of root by default."""
    if os.geteuid() != 0:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    if not keep_groups:
        os.setgroups([])
        os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
