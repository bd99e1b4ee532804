"""Explanations of ``pilotage explain`` as paragraphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from pilotage.output.console import clean
from pilotage.output.text.problems import print_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.core.problems import Problem
    from pilotage.output.console import Out
    from pilotage.output.explain import ContainerExplanation, Explanation, RouteExplanation
    from pilotage.output.facts import Fact, Source

__all__ = ["print_explanation"]


def print_explanation(out: Out, explanation: Explanation) -> None:
    """Print everything about one name."""
    for index, story in enumerate(explanation.containers):
        if index:
            out.line()
        _print_container(out, story)
    for index, file in enumerate(explanation.files):
        if index or explanation.containers:
            out.line()
        out.line(Text("File ").append(clean(file.name), style="bold"))
        for route in file.routes:
            out.line()
            _print_route(out, route)


def _print_container(out: Out, story: ContainerExplanation) -> None:
    head = Text("Container ").append(clean(story.name), style="bold")
    engine = f" on {story.provider}" if story.provider else ""
    status = f" ({story.status})" if story.status else ""
    out.paragraph(head.append(clean(f"{engine}: {story.image}, {story.state or 'state unknown'}{status}")), hanging=2)
    _print_facts(out, story.facts)
    for note in story.notes:
        out.paragraph(Text(clean(note), style="yellow"), indent=2, hanging=2)
    _print_story_problems(out, story.problems)
    for route in story.routes:
        out.line()
        _print_route(out, route)


def _print_route(out: Out, story: RouteExplanation) -> None:
    text = Text("Route ").append(clean(story.alias), style="bold")
    if story.served:
        text.append(" → ").append(clean(story.target or "asleep, its address shows when it wakes"), style="green")
    else:
        text.append(" is not served: ").append(clean(story.reason), style="yellow")
        if story.remedy:
            text.append(clean(f"; {story.remedy}"))
    out.paragraph(text, hanging=2)
    _print_facts(out, story.facts)
    for note in story.notes:
        out.paragraph(Text(clean(note)), indent=2, hanging=2)
    _print_story_problems(out, story.problems)


_WIDEST_VALUE: Final = 28  # a longer one pushes its own reason aside, not all the others
_NARROW: Final = 24  # a column of text narrower than this reads badly


def _print_facts(out: Out, facts: Sequence[Fact]) -> None:
    names = max((len(fact.name) for fact in facts), default=0)
    values = max((len(fact.value) for fact in facts if len(fact.value) <= _WIDEST_VALUE), default=0)
    column = names + values + 4  # where reasons begin
    hanging = column if not out.width or out.width - column > _NARROW else names + 2
    for fact in facts:
        text = Text(f"{clean(fact.name):{names}}  ", style="cyan")
        text.append(f"{clean(fact.value):{values}}  ", style="not cyan")
        out.paragraph(text.append(clean(_because(fact)), style="dim not cyan"), indent=2, hanging=hanging)


def _because(fact: Fact) -> str:
    written = fact.source
    parts = [_where(written) if written.file else f"label {_where(written)}"] if written is not None else []
    if fact.why:
        parts.append(fact.why)
    parts += [f"instead of {lost.value or repr('')} from {_where(lost)}" for lost in fact.instead_of]
    return "; ".join(parts)


def _where(written: Source) -> str:
    if written.file:
        return f"{written.file}:{written.line}:{written.column}"
    return f"{written.label} (line {written.line}, column {written.column})" if written.line else written.label


def _print_story_problems(out: Out, problems: Sequence[Problem]) -> None:
    for problem in problems:
        print_problem(out, problem)
