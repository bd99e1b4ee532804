"""Supplies the texts that are checked: of files, and of standard input."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO, Final

from pilotage.core.textfile import MAX_SIZE, UnreadableFile, decode_text, read_text

__all__ = ["STDIN", "Sources"]

STDIN: Final = "<stdin>"
"""The name of standard input in problems."""

_LINE_END: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What the YAML parser counts as the end of a line; ``str.splitlines()`` knows more."""


class Sources:
    """Reads each file once.

    Args:
        stdin: the content of :data:`STDIN`; ``None`` if there is none. At most 4 MiB are read.

    """

    def __init__(self, stdin: BinaryIO | None = None) -> None:
        self._stdin = stdin
        self._texts: dict[str, str | UnreadableFile] = {}
        self._lines: dict[str, list[str]] = {}

    def text(self, name: str) -> str:
        """Return the text of a file, given its name. Raises UnreadableFile."""
        if name not in self._texts:
            try:
                stdin = self._stdin if name == STDIN else None
                self._texts[name] = read_text(Path(name)) if stdin is None else _read(stdin)
            except UnreadableFile as error:
                self._texts[name] = error
        found = self._texts[name]
        if isinstance(found, UnreadableFile):
            raise found
        return found

    def line(self, name: str, number: int) -> str:
        """Return a line of a file, given its 1-based number; ``""`` if the file or the line does not exist."""
        if name not in self._lines:
            try:
                self._lines[name] = _LINE_END.split(self.text(name))
            except UnreadableFile:
                self._lines[name] = []
        lines = self._lines[name]
        return lines[number - 1] if 0 < number <= len(lines) else ""


def _read(stdin: BinaryIO) -> str:
    try:
        return decode_text(stdin.read(MAX_SIZE + 1))
    except OSError as error:
        raise UnreadableFile(f"cannot be read: {error.strerror or error}") from error
