"""What commands found, as texts for people: tables, explanations, problems grouped by container, a line of summary."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from pilotage.core.text import count
from pilotage.output.console import clean, print_table
from pilotage.output.facts import has_alias
from pilotage.routes.route import Excluded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pilotage.containers.container import Container
    from pilotage.core.problems import Problem
    from pilotage.discovery.detect import Probe
    from pilotage.output.console import Cell, Out
    from pilotage.output.explain import ContainerExplanation, Explanation, RouteExplanation
    from pilotage.output.facts import Fact, Source
    from pilotage.output.label_reference import LabelEntry
    from pilotage.output.view import View
    from pilotage.routes.build import Built
    from pilotage.routes.route import EndpointHealth, Route

__all__ = ["print_containers", "print_explanation", "print_problems", "print_routes", "route_status", "summary"]


# ---- routes and containers -----------------------------------------------------------------------------------------


def route_status(route: Route, health: Mapping[str, EndpointHealth] = MappingProxyType({})) -> Cell:
    """Return in few words how a route is, and the style for it.

    Args:
        route: the route.
        health: what probes found, by the address of an endpoint.

    """
    if route.excluded_reason == Excluded.ERROR:
        return "Error, see below", "red"
    if route.excluded:
        return route.excluded_reason, "yellow"
    if not route.endpoints:
        return ("asleep", "cyan") if route.idle_watcher else ("ready", "green")
    failing = {address: found.since for address, found in health.items() if found.state == "unhealthy"}
    ready = sum(endpoint.state == "ready" and endpoint.address not in failing for endpoint in route.endpoints)
    style = "green" if ready else "yellow"
    since = f" since {_clock(min(failing.values()))}" if failing else ""
    if len(route.endpoints) > 1:
        return f"{ready} of {len(route.endpoints)} ready" + (f", probes fail{since}" if failing else ""), style
    (endpoint,) = route.endpoints
    found = health.get(endpoint.address) if endpoint.state == "ready" else None
    return (_PROBED[found.state] + since if found is not None else _STATES[endpoint.state]), style


_STATES: Final = {"ready": "ready", "waiting": "not healthy yet", "unhealthy": "unhealthy", "draining": "draining"}
_PROBED: Final = {"healthy": "healthy", "unhealthy": "probe fails", "pending": "ready, not probed yet"}


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def print_routes(out: Out, view: View) -> None:
    """Print every alias, where it leads and how it is."""
    routes = list(view.table.sorted_routes())
    if not routes:
        out.line("No routes: there are no containers that could have any.")
        return
    rows = []
    for route in routes:
        text, style = route_status(route, view.table.health_of(route.alias))
        listen = f", listens on {route.listen}" if route.listen else ""
        since = view.table.stale_since(route)
        if since is not None and not route.excluded:
            listen += f", stale since {_clock(since)}"
            style = "yellow"
        more = f" +{len(route.endpoints) - 1}" if len(route.endpoints) > 1 else ""
        dim = "dim" if route.excluded else ""
        rows.append(
            [
                (route.alias, dim or "bold"),
                (route.target or "-", dim),
                ((route.container or "-") + more, dim),
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
        return route_status(route)
    winner = view.table.routes[route.alias]
    if not has_alias(route, winner):
        if winner.is_static:
            return f"waits: the file {winner.provider} has this alias", "red"
        elsewhere = f"{winner.provider}/" if winner.provider != route.provider else ""
        return f"waits: container {elsewhere}{winner.container} has this alias", "red"
    text, style = route_status(route)
    return (route.target or text, "" if text == "ready" else style)


# ---- problems ------------------------------------------------------------------------------------------------------


def print_problems(out: Out, problems: Sequence[Problem], *, apart: bool = True) -> None:
    """Print problems: grouped by container on a terminal, one line each elsewhere; ``apart``: below an empty line."""
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
    told = f"alias {problem.route!r}" in problem.message
    if not problem.label and problem.route and problem.route != problem.container and not told:
        parts.append(f"route {problem.route}")
    if problem.path and not problem.label.endswith(f".{problem.path}"):
        parts.append(problem.path)
    place = ": ".join(parts)
    if problem.line:
        where = f"line {problem.line}" + (f", column {problem.column}" if problem.column else "")
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


# ---- explanations --------------------------------------------------------------------------------------------------


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


# ---- labels and engines --------------------------------------------------------------------------------------------

_TITLES: Final = {"container": "Of a container", "route": "Of a route", "shortcut": "Shortcuts"}


def print_labels(out: Out, found: Sequence[LabelEntry]) -> None:
    """Print labels: each with its type, default, meaning and example; one line each where nobody reads along."""
    if not out.is_terminal:
        rows = [[(text, "") for text in (e.label, e.type, e.default or "-", e.meaning, e.example)] for e in found]
        print_table(out, ["LABEL", "TYPE", "DEFAULT", "MEANING", "EXAMPLE"], rows, give_way=[])
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
        if entry.example:
            out.paragraph(Text(entry.example, style="green"), indent=4, hanging=2)


def print_probes(out: Out, probes: Sequence[Probe]) -> None:
    """Print engines and how each answered."""
    rows: list[list[Cell]] = []
    for probe in probes:
        found = probe.found
        star = "*" if found.chosen else ""
        start: list[Cell] = [
            (found.config.name + star, "bold"),
            (found.config.url, ""),
            (", ".join(found.sources), "dim"),
        ]
        if probe.error:
            said = "no answer, see below" if out.is_terminal else probe.error
            rows.append([*start, ("-", "dim"), ("-", "dim"), ("-", "dim"), (said, "red")])
        else:
            how = f"answers in {probe.latency * 1000:.0f} ms"
            rows.append([*start, (probe.kind, ""), (probe.version, ""), (probe.api, ""), (how, "green")])
    heads = ["ENGINE", "ADDRESS", "FOUND AS", "KIND", "VERSION", "API", "STATUS"]
    print_table(out, heads, rows, give_way=[2, 1, 6, 4, 3])
    if out.is_terminal:
        for probe in (probe for probe in probes if probe.error):
            out.line()
            out.paragraph(
                Text("✗ ", style="red").append(f"{probe.found.config.name}: {clean(probe.error)}", style="not red"),
                hanging=2,
            )


def probe_json(probe: Probe) -> dict[str, Any]:
    """Return an engine and its answer as plain data."""
    found = probe.found
    return {
        "name": found.config.name,
        "url": found.config.url,
        "found_as": list(found.sources),
        "chosen": found.chosen,
        "answers": not probe.error,
        "kind": probe.kind,
        "version": probe.version,
        "api": probe.api,
        "latency_s": round(probe.latency, 6),
        "error": probe.error,
    }
