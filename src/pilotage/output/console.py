"""Prints lines, wrapped paragraphs and tables that fit the terminal.

In a pipe or a file, nothing is cut or wrapped: each table row is one line, for ``grep`` and ``awk``.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.text import Text

from pilotage.core.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from rich.console import Console

__all__ = ["Cell", "Out", "clean", "command_name", "fit", "print_table"]

Cell = tuple[str, str]
"""A text and its rich style; ``""`` for none."""

_GAP: Final = 2
_LEAST: Final = 8  # a narrower column would be useless
_NARROW: Final = 11  # print rows as blocks if the terminal has fewer columns than this for each column of a table


class Out:
    """Prints to a file, with colors if the file is a terminal that supports them.

    Args:
        file: the file to print to; standard output by default.

    Attributes:
        is_terminal: whether the file is a terminal. Elsewhere, lines are never cut or wrapped.
        is_plain: whether nothing is styled, as in a pipe or file, unless ``FORCE_COLOR`` is set.
        width: columns of the terminal, overridden by ``COLUMNS``; 0 for no limit.

    """

    def __init__(self, file: TextIO | None = None) -> None:
        self.file = file or sys.stdout
        self.is_terminal = self.file.isatty()
        self.is_plain = not self.is_terminal and not any(map(os.environ.get, ("FORCE_COLOR", "TTY_COMPATIBLE")))
        self.width = self.console.width if self.is_terminal else 0

    @functools.cached_property
    def console(self) -> Console:
        """The rich console. Plain output does not use it, because it is slow to import."""
        from rich.console import Console  # noqa: PLC0415

        console = Console(file=self.file, highlight=False, markup=False, emoji=False, soft_wrap=True)
        if console.width < 1:  # with COLUMNS=0, rich prints nothing at all
            console.width = 80
        return console

    def line(self, text: Text | str = "") -> None:
        """Print one line, without cutting or wrapping it."""
        if isinstance(text, Text):
            text.rstrip()
        if self.is_plain:
            self.file.write(f"{text}\n")
        else:
            self.console.print(text)

    def note(self, text: str) -> None:
        """Print a dimmed remark."""
        self.paragraph(Text(text, style="dim"))

    def warning(self, text: str) -> None:
        """Print a warning."""
        self.paragraph(Text("warning: ", style="bold yellow").append(text, style="not bold"), hanging=2)

    def error(self, text: str) -> None:
        """Print an error."""
        self.paragraph(Text("error: ", style="bold red").append(text, style="not bold"), hanging=2)

    def paragraph(self, text: Text, indent: int = 0, hanging: int = 0) -> None:
        """Print a text, wrapped at words on a terminal. ``hanging`` is the extra indent of all lines but the first."""
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
    """Escape control and other deceptive characters, so that no label or name can move the terminal's cursor."""
    return escape(text)


def command_name() -> str:
    """Return the command that the user runs: ``PILOTAGE_COMMAND``, set by wrapper scripts, or ``pilotage``."""
    return clean(os.environ.get("PILOTAGE_COMMAND", "")) or "pilotage"


# ---- tables --------------------------------------------------------------------------------------------------------


def fit(widths: Sequence[int], available: int, give_way: Sequence[int]) -> list[int]:
    """Return column widths that, together with the gaps between columns, fit into the available width.

    Args:
        widths: the preferred widths.
        available: the total width; 0 for no limit.
        give_way: indices of columns in the order in which they shrink.

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
    """Print a table; on a very narrow terminal, print each row as a block of lines.

    Args:
        out: the output.
        heads: the column headings.
        rows: the cells, row by row.
        give_way: see :func:`fit`.

    """
    lines = [[(clean(text), style) for text, style in row] for row in rows]
    widths = [max(cell_len(text) for text in column) for column in zip(heads, *_texts(lines), strict=True)]
    if out.is_plain:
        _print_plainly(out, [heads, *_texts(lines)], widths)
        return
    if out.width and out.width < min(sum(widths), _NARROW * len(heads)):
        for line in lines:
            _print_block(out, heads, line)
        return
    widths = fit(widths, out.width, give_way)
    out.line(_row([(head, "bold") for head in heads], widths))
    for line in lines:
        out.line(_row(line, widths))


def _print_plainly(out: Out, rows: Iterable[Sequence[str]], widths: Sequence[int]) -> None:
    """Print a table without styles, which is fast enough for ten thousand rows."""
    for row in rows:
        cells = (text + " " * (width - cell_len(text) + _GAP) for text, width in zip(row, widths, strict=True))
        out.file.write("".join(cells).rstrip() + "\n")


def _print_block(out: Out, heads: Sequence[str], cells: Sequence[Cell]) -> None:
    """Print a row as lines of heading and cell, and skip empty cells.

    All lines but the first are indented. If the first cell is empty, the row continues the previous one, so all of its
    lines are indented.
    """
    column = max(map(len, heads)) + _GAP
    indent = 0 if cells[0][0] else _GAP
    for head, (text, style) in zip(heads, cells, strict=True):
        if not text:
            continue
        shown = head
        for line in Text(text, style=style).wrap(out.console, max(out.width - indent - column, _LEAST)):
            out.line(Text(" " * indent).append(f"{shown:{column}}", style="dim").append_text(line))
            shown = ""
        indent = _GAP


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
