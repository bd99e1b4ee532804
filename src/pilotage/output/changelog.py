"""Formats table changes as readable lines. Pure.

The first list of an engine becomes one line that counts its routes and problems; each later change gets its own line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.text import count, format_duration
from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.schema import RouteSettings
from pilotage.routes.support import not_served, refused_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pilotage.core.problems import Problem
    from pilotage.discovery.update import Update
    from pilotage.routes.route import Route
    from pilotage.table.diff import Change
    from pilotage.table.table import Table

__all__ = ["ChangeFormatter", "ChangeLine", "describe_change", "describe_changes", "problem_line"]


class ChangeLine(msgspec.Struct, frozen=True):
    """One change, as a line.

    Attributes:
        kind: one word: a `ChangeKind`, ``down`` for an engine that was never reached, or ``read`` for a route file.
        engine: name of the engine or file.
        alias: the alias of the route, or the name of the container if a problem does not concern a single route.
        detail: the target, the difference, or the problem.
        cause: the event that caused the change; ``""`` if unknown.
        quiet: whether the change makes no difference to clients.

    """

    kind: str
    engine: str
    alias: str = ""
    detail: str = ""
    cause: str = ""
    quiet: bool = False


class ChangeFormatter:
    """Turns the updates of one subscription, passed in order, into lines."""

    def __init__(self) -> None:
        self._known: set[str] = set()  # engines whose first list has been formatted
        self._since: dict[str, float] = {}  # engine -> when it became unreachable

    def format(self, update: Update) -> list[ChangeLine]:
        """Return the lines for the next update."""
        known = frozenset(self._known)
        is_first = not update.old.version
        lines: list[ChangeLine] = []
        if is_first:
            lines += _files_read(update.new)
        for change in update.changes:
            if change.kind in ("stale", "live"):
                lines.append(self._engine(change, update.new))
            elif change.engine in known or not (is_first or change.engine in update.new.engines):
                line = _line(change, update.old)
                if line is not None:
                    lines.append(line)
            elif change.problem is not None and change.problem.file:
                lines.append(problem_line(change.kind, change.problem))
        return lines

    def _engine(self, change: Change, table: Table) -> ChangeLine:
        name = change.engine
        routes = [route for route in table.routes.values() if route.provider == name]
        if change.kind == "stale":
            if name not in self._known:
                return ChangeLine("down", name, detail=change.cause)
            self._since[name] = table.engines[name].since
            kept = f"; {count(len(routes), 'route')} kept" if routes else ""
            return ChangeLine("stale", name, detail=f"{change.cause}{kept}")
        since = self._since.pop(name, None)
        self._known.add(name)
        if since is not None:
            away = format_duration(float(round(max(table.engines[name].since - since, 1.0))))
            return ChangeLine("live", name, detail=f"back after {away}: {_numbers(routes, _problems_of(table, name))}")
        return ChangeLine("live", name, detail=_numbers(routes, _problems_of(table, name)))


def _files_read(table: Table) -> Iterator[ChangeLine]:
    """Yield a line for each route file that was read before the first update."""
    files: dict[str, list[Route]] = {}
    for route in table.routes.values():
        if route.is_static:
            files.setdefault(route.provider, []).append(route)
    for name in sorted(files):
        yield ChangeLine("read", name, detail=_numbers(files[name], 0))


def _numbers(routes: Iterable[Route], problems: int) -> str:
    found = list(routes)
    excluded = sum(route.excluded for route in found)
    parts = [count(len(found), "route")]
    if excluded:
        parts.append(f"{excluded} excluded")
    if problems:
        parts.append(count(problems, "problem"))
    return ", ".join(parts)


def _problems_of(table: Table, engine: str) -> int:
    return sum(problem.provider == engine for found in table.problems_by_key.values() for problem in found)


def _line(change: Change, old: Table) -> ChangeLine | None:
    if change.problem is not None:
        return problem_line(change.kind, change.problem) if not _is_about_engine(change.problem) else None
    route = change.route
    if route is None:
        return None
    detail, quiet = _detail(change, route, old.routes.get(change.alias))
    cause = change.cause if change.kind not in _OWN_CAUSE else ""
    return ChangeLine(change.kind, change.engine, change.alias, detail, cause, quiet) if detail else None


def describe_change(change: Change, old: Table) -> str:
    """Return a few words about a change; ``""`` if its kind says enough.

    Args:
        change: the change.
        old: the table before the change.

    """
    if change.problem is not None:
        return problem_line(change.kind, change.problem).detail
    if change.route is None:
        return change.cause
    return _detail(change, change.route, old.routes.get(change.alias))[0]


_OWN_CAUSE: Final = frozenset({"health", "wakefulness"})  # their cause is the detail


def _detail(change: Change, route: Route, before: Route | None) -> tuple[str, bool]:
    """Return the detail of a change, and whether the change makes no difference to clients."""
    match change.kind:
        case "added":
            return _outcome(route), route.excluded
        case "removed":
            return (f"was {route.target}" if not route.excluded and route.target else "was not served"), route.excluded
        case "draining":
            stopping = [endpoint.container for endpoint in route.endpoints if endpoint.state == "draining"]
            return f"{', '.join(stopping)} {'is' if len(stopping) == 1 else 'are'} stopping", False
        case "health" | "wakefulness":
            return change.cause, False
        case _ if change.fields == ("pool",):
            return f"now leads the pool {route.pool}", False
        case _ if before is not None:
            return describe_changes(before, route), before.excluded and route.excluded
    return _outcome(route), route.excluded


def _is_about_engine(problem: Problem) -> bool:
    """Return whether a problem concerns a whole engine; ``stale`` and ``live`` lines report such problems."""
    return not (problem.container or problem.route or problem.file)


def problem_line(kind: str, problem: Problem) -> ChangeLine:
    """Return the line for a problem.

    Args:
        kind: ``problem``, ``conflict`` or ``resolved``.
        problem: the problem.

    """
    problem = problem.shown
    place = problem.label or (problem.path if problem.path != problem.route else "")
    if problem.line:
        where = f"line {problem.line}, column {problem.column}"
        place = f"{place} ({where})" if place else where
    text = f"{place}: {problem.message}" if place else problem.message
    if problem.hint and kind != "resolved":
        text = f"{text}; {problem.hint}"
    if kind == "conflict":
        text = f"{problem.container or problem.file}: {text}"
    kind = "warning" if kind == "problem" and problem.severity == "warning" else kind
    return ChangeLine(kind, problem.provider or problem.file, problem.route or problem.container, text)


# ---- one route -----------------------------------------------------------------------------------------------------

_STATES: Final = {"waiting": "not healthy yet", "unhealthy": "unhealthy", "draining": "stopping"}


def describe_changes(old: Route, new: Route) -> str:
    """Return the differences between two versions of a route as text, except for its problems."""
    parts = []
    if new.excluded:
        if not old.excluded:
            parts.append(f"no longer served: {new.excluded_reason}")
        elif old.excluded_reason != new.excluded_reason:
            parts.append(_outcome(new))
    elif old.excluded:
        parts.append(_outcome(new))
    elif old.target != new.target:
        parts.append(f"{old.target or 'asleep'} → {new.target or 'asleep'}")
    elif _states(old) != _states(new):
        parts.append(_readiness(new))
    if old.container != new.container:
        parts.append(f"now served by {new.container or new.provider}")
    elif old.container_id != new.container_id:
        parts.append("container re-created")
    changed = [name for name in RouteSettings.__struct_fields__ if _differs(old.settings, new.settings, name)]
    settings = [name for name in changed if name not in ("scheme", "host", "port")]
    if settings:
        parts.append(f"{', '.join(settings)} changed")
    if not parts and old.listen != new.listen:
        parts.append(f"listens on {new.listen or 'the shared port'}")
    return "; ".join(parts)


def _differs(old: RouteSettings, new: RouteSettings, name: str) -> bool:
    return bool(getattr(old, name) != getattr(new, name))


def _outcome(route: Route) -> str:
    """Return the target of a route, or why it is not served."""
    if route.excluded:
        refused = refused_settings(route.problems).get(route.alias)
        if refused:
            return not_served(refused)
        why = "see its problems" if route.excluded_reason == ExclusionReason.ERROR else route.excluded_reason
        return f"not served: {why}"
    more = f", {_readiness(route)}" if set(_states(route)) - {"ready"} or len(route.endpoints) > 1 else ""
    return f"{route.target or 'asleep'}{more}"


def _readiness(route: Route) -> str:
    if len(route.endpoints) == 1:
        return _STATES.get(route.endpoints[0].state, "ready")
    ready = sum(endpoint.state == "ready" for endpoint in route.endpoints)
    return f"{ready} of {len(route.endpoints)} ready" if route.endpoints else "asleep"


def _states(route: Route) -> list[str]:
    return sorted(endpoint.state for endpoint in route.endpoints)
