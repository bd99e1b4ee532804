"""Prints the explanations of ``pilotage explain`` as paragraphs."""

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
    from pilotage.routes.rules import RuleDescription

__all__ = ["print_explanation"]


def print_explanation(out: Out, explanation: Explanation) -> None:
    """Print an explanation: containers, then files, each with its routes."""
    for index, container in enumerate(explanation.containers):
        if index:
            out.line()
        _print_container(out, container)
    for index, file in enumerate(explanation.files):
        if index or explanation.containers:
            out.line()
        out.line(Text("File ").append(clean(file.name), style="bold"))
        for route in file.routes:
            out.line()
            _print_route(out, route)


def _print_container(out: Out, container: ContainerExplanation) -> None:
    head = Text("Container ").append(clean(container.name), style="bold")
    engine = f" on {container.provider}" if container.provider else ""
    status = f" ({container.status})" if container.status else ""
    out.paragraph(
        head.append(clean(f"{engine}: {container.image}, {container.state or 'state unknown'}{status}")), hanging=2
    )
    _print_facts(out, container.facts)
    for note in container.notes:
        out.paragraph(Text(clean(note), style="yellow"), indent=2, hanging=2)
    _print_problems(out, container.problems)
    for route in container.routes:
        out.line()
        _print_route(out, route)


def _print_route(out: Out, route: RouteExplanation) -> None:
    text = Text("Route ").append(clean(route.alias), style="bold")
    if route.served:
        text.append(" → ").append(clean(route.target or "asleep; its address is known once it wakes"), style="green")
        if route.target and route.status not in ("", "ready", "asleep"):
            text.append(clean(f", {route.status}"))
    else:
        text.append(" is not served: ").append(clean(route.reason), style="yellow")
        if route.remedy:
            text.append(clean(f"; {route.remedy}"))
    out.paragraph(text, hanging=2)
    _print_facts(out, route.facts)
    _print_rules(out, route.rules, route.rule_file)
    for note in route.notes:
        out.paragraph(Text(clean(note)), indent=2, hanging=2)
    _print_problems(out, route.problems)


def _print_rules(out: Out, rules: Sequence[RuleDescription], file: str) -> None:
    """Print each rule with its place, its condition and, below, its commands."""
    for rule in rules:
        if rule.in_list:
            place = f"rule {rule.line}{' of ' if file else ''}{file}"
        else:
            place = f"rule, {file}:{rule.line}" if file else f"rule, line {rule.line}"
        text = Text(f"{clean(place)}  ", style="cyan").append(clean(rule.on), style="not cyan")
        name = f"{rule.name}; " if rule.name else ""
        out.paragraph(
            text.append(clean(f"  {name}tested by {rule.tested_by}"), style="dim not cyan"), indent=2, hanging=4
        )
        for command in rule.do:
            inner = len(command) - len(command.lstrip())
            out.paragraph(Text(clean(command.lstrip())), indent=4 + inner, hanging=2)


_WIDEST_VALUE: Final = 28  # a wider value shifts only the reason next to it
_NARROW: Final = 24  # a narrower column of text is hard to read


def _print_facts(out: Out, facts: Sequence[Fact]) -> None:
    names = max((len(fact.name) for fact in facts), default=0)
    values = max((len(fact.value) for fact in facts if len(fact.value) <= _WIDEST_VALUE), default=0)
    hanging = names + values + 4  # the column of the reasons
    if out.width and out.width - hanging <= _NARROW:
        hanging, values = names + 2, 0
    for fact in facts:
        text = Text(f"{clean(fact.name):{names}}  ", style="cyan")
        text.append(f"{clean(fact.value).ljust(values)}  ", style="not cyan")
        out.paragraph(text.append(clean(_reason(fact)), style="dim not cyan"), indent=2, hanging=hanging)


def _reason(fact: Fact) -> str:
    parts = [] if fact.source is None else [_place(fact.source) if fact.source.file else f"label {_place(fact.source)}"]
    if fact.why:
        parts.append(fact.why)
    parts += [f"overrides {source.value or repr('')} from {_place(source)}" for source in fact.instead_of]
    return "; ".join(parts)


def _place(source: Source) -> str:
    if source.file:
        return f"{source.file}:{source.line}:{source.column}"
    return f"{source.label} (line {source.line}, column {source.column})" if source.line else source.label


def _print_problems(out: Out, problems: Sequence[Problem]) -> None:
    for problem in problems:
        print_problem(out, problem)
