"""Prints problems, grouped by container on a terminal, elsewhere on one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from pilotage.output.console import clean
from pilotage.output.excerpt import excerpt_of, fit_excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pilotage.core.problems import Problem
    from pilotage.output.console import Out

__all__ = ["print_problem", "print_problems"]


_INDENT = 4  # columns before the line number of an excerpt


def print_problems(
    out: Out,
    problems: Sequence[Problem],
    *,
    apart: bool = True,
    line_of: Callable[[str, int], str] | None = None,
) -> None:
    """Print problems, grouped by container on a terminal, elsewhere on one line each.

    Args:
        out: the output.
        problems: the problems.
        apart: whether to print an empty line first.
        line_of: returns a line of a file, given the file's name and the line's number; ``""`` if it is unknown. On a
            terminal, this line is shown below each problem, with the place of the problem marked.

    """
    if not problems:
        return
    if apart:
        out.line()
    if not out.is_terminal:
        for problem in problems:
            out.line(f"{problem.severity}: {clean(str(problem))}")
        return
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(_heading(problem.shown), []).append(problem)
    for heading, group in groups.items():
        if heading:
            out.line(Text(clean(heading), style="bold"))
        for problem in group:
            print_problem(out, problem, indent=2 if heading else 0)
            if line_of is not None and problem.file and problem.line:
                _print_excerpt(out, problem, line_of(problem.file, problem.line))


def _print_excerpt(out: Out, problem: Problem, line: str) -> None:
    """Print a line of a file, and a line that marks the place of the problem in it."""
    gutter = f"{' ' * _INDENT}{problem.line} | "
    found = excerpt_of(line, problem)
    if found is None:
        return
    found = fit_excerpt(found, max(out.width - len(gutter), 12))
    blank = " " * (len(gutter) - 2) + "| "
    marked = found.text[found.start : found.start + found.length]
    style = "red" if problem.severity == "error" else "yellow"
    out.line(Text(gutter, style="dim").append(found.text, style="not dim"))
    out.line(
        Text(blank, style="dim")
        .append(" " * cell_len(found.text[: found.start]))
        .append("^" * max(cell_len(marked), 1), style=f"not dim {style}")
    )


def _heading(problem: Problem) -> str:
    if problem.file:
        return problem.file
    return "/".join(name for name in (problem.provider, problem.container) if name)


def print_problem(out: Out, problem: Problem, indent: int = 2) -> None:
    """Print one problem as a paragraph: place, message and hint."""
    problem = problem.shown
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
    """Return the place inside a container or file: label, path (unless in the label), line and column."""
    parts = [problem.label] if problem.label else []
    in_message = f"alias {problem.route!r}" in problem.message
    if not problem.label and problem.route and problem.route != problem.container and not in_message:
        parts.append(f"route {problem.route}")
    if problem.path and not problem.is_path_shown:
        parts.append(problem.path)
    place = ": ".join(parts)
    if problem.line:
        where = f"line {problem.line}" + (f", column {problem.column}" if problem.column else "")
        place = f"{place} ({where})" if place else where
    return place
