"""Prints the label reference of ``pilotage labels`` as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from pilotage.output.console import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.output.console import Out
    from pilotage.output.label_reference import LabelEntry

__all__ = ["print_labels"]


_TITLES: Final = {"container": "Container labels", "route": "Route labels", "shortcut": "Shortcuts"}


def print_labels(out: Out, found: Sequence[LabelEntry]) -> None:
    """Print type, default, meaning and example of each label: as paragraphs on a terminal, elsewhere as a table."""
    if not out.is_terminal:
        rows = [
            [(text, "") for text in (e.label, e.type, e.default or "-", e.meaning, e.example, e.works)] for e in found
        ]
        print_table(out, ["LABEL", "TYPE", "DEFAULT", "MEANING", "EXAMPLE", "WORKS"], rows, give_way=[])
        return
    scope = ""
    for entry in found:
        if entry.scope != scope:
            out.line(("\n" if scope else "") + f"{_TITLES[entry.scope]}\n")
            scope = entry.scope
        default = f", default {entry.default}" if entry.default else ""
        also = f", also {', '.join(entry.spellings)}" if entry.spellings else ""
        out.paragraph(
            Text(entry.label, style="bold cyan").append(f"  {entry.type}{default}{also}", style="not bold dim"),
            hanging=4,
        )
        out.paragraph(Text(entry.meaning), indent=4)
        if entry.works not in ("", "yes"):
            out.paragraph(Text(f"works: {entry.works}", style="yellow"), indent=4, hanging=2)
        if entry.example:
            out.paragraph(Text(entry.example, style="green"), indent=4, hanging=2)
