"""Printing for people: lines, wrapped paragraphs and tables that fit the terminal they go to.

Into a pipe or a file nothing is cut or wrapped: one whole line for each row, fit for ``grep`` and ``awk``.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

__all__ = ["Cell", "Out", "clean", "command_name", "fit", "print_table"]

Cell = tuple[str, str]
"""A text and a style of rich's, ``""`` for none."""

_GAP: Final = 2
_LEAST: Final = 8  # narrower than this a column is of no use


class Out:
    """Where texts go: standard output or a file like it, coloured if it is a terminal that wants colours.

    Args:
        file: where to print; standard output unless given.

    Attributes:
        is_terminal: people read along; otherwise lines are never cut or wrapped.
        width: columns of the terminal (``COLUMNS`` overrides them); 0 for no limit.

    """

    def __init__(self, file: TextIO | None = None) -> None:
        self.file = file or sys.stdout
        self.is_terminal = self.file.isatty()
        self.console = Console(file=self.file, highlight=False, markup=False, emoji=False, soft_wrap=True)
        if self.console.width < 1:  # COLUMNS=0, with which rich prints nothing at all
            self.console.width = 80
        self.width = self.console.width if self.is_terminal else 0

    def line(self, text: Text | str = "") -> None:
        """Print one line, whatever its length."""
        if isinstance(text, Text):
            text.rstrip()
        self.console.print(text)

    def note(self, text: str) -> None:
        """Print something by the way."""
        self.line(Text(text, style="dim"))

    def error(self, text: str) -> None:
        """Print what failed."""
        self.line(Text("error: ", style="bold red").append(text, style="not bold"))

    def paragraph(self, text: Text, indent: int = 0, hanging: int = 0) -> None:
        """Print a text; on a terminal it is wrapped between words, with ``hanging`` more columns before later lines."""
        if not self.width:
            self.line(Text(" " * indent) + text)
            return
        lead, hang = " " * indent, " " * (indent + hanging)
        first = text.wrap(self.console, max(self.width - len(lead), 20))[0]
        first.rstrip()
        self.line(Text(lead) + first)
        rest = text[len(first.plain) :]
        rest = rest[len(rest.plain) - len(rest.plain.lstrip()) :]
        if rest.plain:
            for line in rest.wrap(self.console, max(self.width - len(hang), 20)):
                self.line(Text(hang) + line)


def clean(text: str) -> str:
    """Return text without control characters: what others wrote must not move the cursor of who reads it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def command_name() -> str:
    """Return what people write to run pilotage: ``PILOTAGE_COMMAND`` where a script stands before it."""
    return clean(os.environ.get("PILOTAGE_COMMAND", "")) or "pilotage"


# ---- tables --------------------------------------------------------------------------------------------------------


def fit(widths: Sequence[int], available: int, give_way: Sequence[int]) -> list[int]:
    """Return widths of columns that fit into a width, gaps included.

    Args:
        widths: what each column would like.
        available: the whole width; 0 for no limit.
        give_way: indices of columns, first the one that gets narrower first. At the end all share the loss.

    """
    found = list(widths)
    if not available:
        return found
    excess = sum(found) + _GAP * (len(found) - 1) - available
    for floor in (16, _LEAST):
        for index in give_way:
            cut = min(excess, found[index] - floor)
            if cut > 0:
                found[index] -= cut
                excess -= cut
    return found


def print_table(out: Out, heads: Sequence[str], rows: Iterable[Sequence[Cell]], give_way: Sequence[int]) -> None:
    """Print a table.

    Args:
        out: where to.
        heads: of the columns.
        rows: of cells.
        give_way: see :func:`fit`.

    """
    lines = [[(clean(text), style) for text, style in row] for row in rows]
    widths = [max(cell_len(text) for text in column) for column in zip(heads, *_texts(lines), strict=True)]
    if not out.width and out.console.color_system is None:
        _print_plainly(out, [heads, *_texts(lines)], widths)
        return
    widths = fit(widths, out.width, give_way)
    out.line(_row([(head, "bold") for head in heads], widths))
    for line in lines:
        out.line(_row(line, widths))


def _print_plainly(out: Out, rows: Iterable[Sequence[str]], widths: Sequence[int]) -> None:
    """Print a table without styles: ten thousand rows are a matter of moments then."""
    for row in rows:
        cells = (text + " " * (width - cell_len(text) + _GAP) for text, width in zip(row, widths, strict=True))
        out.file.write("".join(cells).rstrip() + "\n")


def _texts(lines: Iterable[Sequence[Cell]]) -> Iterable[list[str]]:
    return ([text for text, _ in line] for line in lines)


def _row(cells: Sequence[Cell], widths: Sequence[int]) -> Text:
    row = Text()
    for index, ((text, style), width) in enumerate(zip(cells, widths, strict=True)):
        cell = Text(text, style=style)
        cell.truncate(width, overflow="ellipsis")
        if index:
            row.append(" " * _GAP)
        row.append_text(cell)
        row.append(" " * (width - cell.cell_len))
    return row
