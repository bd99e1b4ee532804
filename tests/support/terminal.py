"""An in-memory terminal, and what was printed to it."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotage.output.console import Out

__all__ = ["Terminal", "printed"]


class Terminal(io.StringIO):
    """A file that claims to be a terminal and keeps what is written."""

    def isatty(self) -> bool:
        return True


def printed(out: Out) -> str:
    """Return what was printed without styles, and assert that no line exceeds the terminal."""
    assert isinstance(out.file, io.StringIO)
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue())
    assert not out.width or all(len(line) <= out.width for line in text.splitlines())
    return text
