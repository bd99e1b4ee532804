"""Adds places to the problems of one container's routes, counts them, and limits their number. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.budget import MAX_PROBLEMS
from pilotage.core.problems import Problem
from pilotage.core.text import count
from pilotage.labels.container_options import IDLE_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.containers.container import Container
    from pilotage.routes.route import Route

__all__ = ["Unplaced", "identity", "limited", "place", "sleepless", "unexpected", "unique", "unknown_port"]


def place(problem: Problem, container: Container, alias: str | None = None) -> Problem:
    """Return a problem with its engine, container and route."""
    return problem.at(provider=container.provider, container=container.container_name, route=alias)


def unexpected(error: Exception) -> Problem:
    """Return the problem for an unexpected exception."""
    return Problem(
        message=f"its labels cannot be processed, so it gets no routes: {type(error).__name__}{_at(error)}",
        hint="this is a bug in pilotage; please report it with the container's labels",
    )


def sleepless(container: Container, routes: Iterable[Route]) -> list[Problem]:
    """Report a container that should sleep according to its labels, but has no route whose requests could wake it."""
    if any(not route.excluded or route.problems for route in routes):
        return []
    message = "it never sleeps, because it has no route whose requests could wake it"
    hint = "remove the label, or write -1s to let it sleep together with the containers that need it"
    return [place(Problem(message=message, hint=hint, severity="warning", label=IDLE_TIMEOUT), container)]


def _at(error: Exception) -> str:
    """Return where an unexpected exception was raised. Its message is left out, because it may contain a secret."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return "" if place is None else f" in {place.tb_frame.f_code.co_name}, line {place.tb_lineno}"


def limited(problems: list[Problem], dropped: int, container: Container) -> tuple[Problem, ...]:
    """Keep the first 100 problems of a container, and add one that states how many more there are (decision 36)."""
    if not dropped and len(problems) <= MAX_PROBLEMS:
        return tuple(problems)
    more = dropped + max(0, len(problems) - MAX_PROBLEMS)
    rest = Problem(message=f"and {count(more, 'more problem')} with this container's labels")
    return (*problems[:MAX_PROBLEMS], place(rest, container))


def identity(problem: Problem, alias: str) -> object:
    """Return a key that repeated problems share, because an error in a wildcard label is reported for every alias."""
    if problem.label:
        return problem.label, problem.path, problem.message, problem.line, problem.column
    return alias, problem.path, problem.message, problem.hint, problem.file, problem.line, problem.column


class Unplaced:
    """The problems that were not kept.

    Attributes:
        identities: see :func:`identity`.

    """

    def __init__(self) -> None:
        self.identities: set[object] = set()
        self._shared: dict[int, Problem] = {}  # a wildcard label has the same problem for all aliases

    def add(self, problems: Iterable[Problem], alias: str) -> None:
        """Add problems of an alias."""
        for problem in problems:
            if id(problem) not in self._shared:
                self.identities.add(identity(problem, alias))
                if problem.label:
                    self._shared[id(problem)] = problem


def unique(problems: list[Problem], unplaced: set[object]) -> tuple[list[Problem], int]:
    """Drop repeated problems.

    Args:
        problems: with their places.
        unplaced: identities of further problems, which were not kept.

    Returns:
        Each problem once, and the number of different further problems.

    """
    if len(problems) < 2 and not unplaced:
        return problems, 0
    seen: dict[object, Problem] = {}
    for problem in problems:
        seen.setdefault(identity(problem, problem.route), problem)
    return list(seen.values()), len(unplaced.difference(seen))


def unknown_port(container: Container, alias: str) -> Problem:
    """Return the warning for a route whose port cannot be determined."""
    return Problem(
        message=f"its port is not known: {container.ports_unknown}",
        severity="warning",
        hint=f"set the label proxy.{alias}.port",
    )
