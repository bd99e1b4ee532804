"""Decides which routes are served, and limits the memory of routes with rules.

This module reads the files that routes name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.problems import Problem
from pilotage.routes.paths import PRESET
from pilotage.xds.backend import without_stream_hold
from pilotage.xds.problems import build_failed, unreported
from pilotage.xds.rule_budget import RuleBudget
from pilotage.xds.rule_files import RuleFiles
from pilotage.xds.rule_outcomes import elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pilotage.routes.route import Route
    from pilotage.xds.label_files import LabelFiles
    from pilotage.xds.options import GatewayOptions

__all__ = ["RuledRoutes", "check_route"]


class RuledRoutes:
    """The routes with rules.

    Args:
        most: memory that Envoys may need for the rules of all containers, in MiB.
        previous: the routes before the gateway's settings changed. Those that are served keep their places.

    Attributes:
        files: the files with rules that routes name.
        budget: the memory for the rules of containers.

    """

    def __init__(self, most: int, previous: RuledRoutes | None = None) -> None:
        self.files = RuleFiles()
        self.budget = RuleBudget(most)
        if previous is not None:
            self.budget.inherit(previous.budget)

    def read(self, route: Route) -> tuple[Route, tuple[Problem, ...]]:
        """Return a route with the rules in its file, or the problem with the file."""
        self.files.forget(route.alias)
        if not route.settings.rule_file or route.settings.rule_file.startswith(PRESET):
            return route, ()
        found, problems = self.files.apply(route)
        if elsewhere(found):
            what = "rules in a file cannot send requests to another route, address or folder"
            hint = "write such rules in the field rules"
            problem = Problem(message=what, hint=hint, path="rule_file", refused=True)
            problems += (problem.at(provider=route.provider, container=route.container, route=route.alias),)
        return found, problems

    def admit(self, alias: str, route: Route | None) -> tuple[Route | None, tuple[Problem, ...]]:
        """Return a route; ``None`` and a problem if too little memory is left for its rules."""
        problems = self.budget.apply(alias, route)
        return (None if problems else route), problems

    def retry(self) -> Iterator[str]:
        """Yield the aliases of routes to admit again, because others now need less memory."""
        yield from sorted(self.budget.retry())


def check_route(
    route: Route,
    options: GatewayOptions,
    rules: RuledRoutes,
    files: LabelFiles,
    check: Callable[[Route, GatewayOptions], tuple[tuple[Problem, ...], bool]],
) -> tuple[tuple[Problem, ...], Route | None]:
    """Return the problems of a route, and the route as it is served; ``None`` if the gateway cannot serve it.

    Args:
        route: a route that is not excluded.
        options: the gateway's settings.
        rules: reads the route's file with rules.
        files: reads the other files that its labels name.
        check: returns the route's other problems, and whether the gateway supports it.

    """
    try:
        route, without_rules = rules.read(route)
        problems, servable = check(route, options)
        unreadable = (files.read(route) if not route.agent else ()) + without_rules  # an agent reads its own files
    except Exception as error:  # noqa: BLE001  an error in one route must not block the others
        return (build_failed(route, error),), None
    served = without_stream_hold(route) if servable and not unreadable else None
    return (*unreported(problems, route), *unreadable), served
