"""Supplies the texts that are checked: of files, and of standard input."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.textfile import MAX_SIZE, UnreadableFile, decode_text, read_text
from pilotage.core.values import ParseError
from pilotage.core.yaml import parse_yaml
from pilotage.lint.compose import is_compose

if TYPE_CHECKING:
    from pilotage.core.yaml import Located

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

    def compose(self, name: str) -> dict[str, Located]:
        """Return the top-level keys of a Compose file, and their values.

        Raises:
            ConfigError: it cannot be read, or is not a Compose file.

        """
        try:
            document = parse_yaml(self.text(name))
        except UnreadableFile as error:
            raise ConfigError([Problem(message=error.message, hint=error.hint, file=name)]) from error
        except ParseError as error:
            problem = Problem(message=error.message, file=name, line=error.line, column=error.column)
            raise ConfigError([problem]) from error
        top = document.value if document is not None and isinstance(document.value, dict) else {}
        if not is_compose(top):
            hint = "name a file that defines services"
            raise ConfigError([Problem(message="this is not a Compose file", hint=hint, file=name)])
        return top

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
