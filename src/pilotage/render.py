"""Texts for people: tables that fit the terminal, problems grouped by container, one line of summary.

On a terminal tables are cut to its width and problems are grouped. Into a pipe or a file goes one whole line for each
row and each problem, fit for ``grep`` and ``awk``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from pilotage.containers.container import Container
    from pilotage.problems import Problem
    from pilotage.routes.build import Built
    from pilotage.routes.route import Route
    from pilotage.sources import View

__all__ = [
    "Out",
    "clean",
    "count",
    "fit",
    "print_containers",
    "print_problems",
    "print_routes",
    "print_table",
    "summary",
    "verdict",
]

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
        room = max(self.width - indent - hanging, 20)
        first, *rest = text.wrap(self.console, room, justify="left") or [Text()]
        self.line(Text(" " * indent) + first)
        for line in rest:
            self.line(Text(" " * (indent + hanging)) + line)


def clean(text: str) -> str:
    """Return text without control characters: what others wrote must not move the cursor of who reads it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def count(number: int, noun: str) -> str:
    """Return ``"1 route"``, ``"2 routes"``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


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
    widths = fit(widths, out.width, give_way)
    out.line(_row([(head, "bold") for head in heads], widths))
    for line in lines:
        out.line(_row(line, widths))


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


# ---- routes and containers -----------------------------------------------------------------------------------------


def verdict(route: Route) -> Cell:
    """Return in few words how a route is, and the style for it."""
    if route.excluded:
        style = "red" if route.excluded_reason == "Error" else "yellow"
        return f"excluded: {route.excluded_reason}", style
    if not route.endpoints:
        return ("asleep", "cyan") if route.idle_watcher else ("ready", "green")
    ready = sum(endpoint.state == "ready" for endpoint in route.endpoints)
    if len(route.endpoints) > 1:
        told = f"{ready} of {len(route.endpoints)} ready"
        return told, "green" if ready else "yellow"
    state = route.endpoints[0].state
    words = {"ready": "ready", "waiting": "not healthy yet", "unhealthy": "unhealthy", "draining": "draining"}
    return words[state], "green" if ready else "yellow"


def print_routes(out: Out, view: View) -> None:
    """Print every alias, where it leads and how it is."""
    routes = list(view.table.sorted_routes())
    if not routes:
        out.line("No routes: there are no containers that could have any.")
        return
    rows = []
    for route in routes:
        text, style = verdict(route)
        listen = f", listens on {route.listen}" if route.listen else ""
        more = f" +{len(route.endpoints) - 1}" if len(route.endpoints) > 1 else ""
        dim = "dim" if route.excluded else ""
        rows.append(
            [
                (route.alias, dim or "bold"),
                (route.target or "-", dim),
                (route.container + more, dim),
                (route.provider, dim),
                (text + listen, style),
            ]
        )
    print_table(out, ["ALIAS", "TARGET", "CONTAINER", "ENGINE", "STATUS"], rows, give_way=[2, 0, 3, 4, 1])


def print_containers(out: Out, view: View) -> None:
    """Print every container with its aliases: for each alias a line, with its route or why there is none."""
    rows: list[list[Cell]] = []
    for roster in view.rosters:
        for container, built in zip(roster.containers, roster.built, strict=True):
            rows += _container_rows(container, built, view, repeat=not out.is_terminal)
    if not rows:
        out.line("No containers.")
        return
    heads = ["CONTAINER", "ENGINE", "STATE", "IMAGE", "ALIAS", "ROUTE"]
    print_table(out, heads, rows, give_way=[3, 0, 1, 4, 5, 2])


def _container_rows(container: Container, built: Built, view: View, *, repeat: bool) -> Iterable[list[Cell]]:
    running = "" if container.running else "dim"
    first = [
        (container.container_name or "-", "bold" if container.running else "dim"),
        (container.provider, running),
        (container.state or "-", "green" if container.running else "yellow"),
        (str(container.image), running),
    ]
    if not built.routes:
        yield [*first, ("-", "dim"), _no_routes(container)]
        return
    for index, route in enumerate(built.routes):
        own = first if repeat or not index else [("", "")] * len(first)
        yield [*own, (route.alias, ""), _outcome(route, view)]


def _no_routes(container: Container) -> Cell:
    if container.errors:
        return f"none: {container.errors[0].message}", "red"
    if not container.container_name:
        return "none: it is being removed", "dim"
    return "none: no label asks for one", "dim"


def _outcome(route: Route, view: View) -> Cell:
    """Return where a container's route leads; or why it does not count, which the table knows."""
    if route.excluded:
        return verdict(route)
    winner = view.table.routes[route.alias]
    if route.container_id not in {winner.container_id, *(endpoint.container_id for endpoint in winner.endpoints)}:
        return f"none: {route.alias} belongs to {winner.container}", "red"
    text, style = verdict(route)
    return (route.target or text, "" if text == "ready" else style)


# ---- problems ------------------------------------------------------------------------------------------------------


def print_problems(out: Out, problems: Sequence[Problem]) -> None:
    """Print problems: grouped by container on a terminal, one line each elsewhere."""
    if not problems:
        return
    out.line()
    if not out.is_terminal:
        for problem in problems:
            out.line(f"{problem.severity}: {clean(str(problem))}")
        return
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(_whose(problem), []).append(problem)
    for whose, group in groups.items():
        if whose:
            out.line(Text(clean(whose), style="bold"))
        for problem in group:
            print_problem(out, problem, indent=2 if whose else 0)


def _whose(problem: Problem) -> str:
    if problem.file:
        return problem.file
    return "/".join(name for name in (problem.provider, problem.container) if name)


def print_problem(out: Out, problem: Problem, indent: int = 2) -> None:
    """Print one problem below the name of its container: place, sentence, what to do."""
    style = "red" if problem.severity == "error" else "yellow"
    text = Text("✗ " if problem.severity == "error" else "! ", style=style)
    place = _inner_place(problem)
    if place:
        text.append(clean(place), style="cyan").append(": ")
    text.append(clean(problem.message))
    if problem.hint:
        text.append("; ").append(clean(problem.hint), style="green")
    out.paragraph(text, indent, hanging=2)


def _inner_place(problem: Problem) -> str:
    """Return the place inside a container or file: label, path where the label does not say it, line and column."""
    parts = [problem.label] if problem.label else []
    if not problem.label and problem.route and problem.route != problem.container:
        parts.append(f"route {problem.route}")
    if problem.path and not problem.label.endswith(f".{problem.path}"):
        parts.append(problem.path)
    place = ": ".join(parts)
    if problem.line:
        where = f"line {problem.line}, column {problem.column}"
        place = f"{place} ({where})" if place else where
    return place


def summary(view: View, *, containers: bool = False) -> Text:
    """Return the last line: how many routes, excluded ones, problems."""
    routes = view.table.routes.values()
    excluded = sum(route.excluded for route in routes)
    parts = []
    if containers:
        parts.append(count(sum(len(roster.containers) for roster in view.rosters), "container"))
    parts.append(count(len(routes), "route"))
    if excluded:
        parts.append(f"{excluded} excluded")
    text = Text(", ".join(parts))
    errors = sum(problem.severity == "error" for problem in view.table.problems)
    warnings = len(view.table.problems) - errors
    if errors:
        text.append(", ").append(count(errors, "problem"), style="red")
    if warnings:
        text.append(", ").append(count(warnings, "warning"), style="yellow")
    if not errors and not warnings:
        text.append(", no problems", style="green")
    return text
