"""Decides which routes are served, and limits the memory of routes with rules.

This module reads the files that routes name.
"""

from __future__ import annotations

from collections import ChainMap
from typing import TYPE_CHECKING

from pilotage.policy import NO_POLICY
from pilotage.routes.paths import PRESET
from pilotage.xds.backend import without_stream_hold
from pilotage.xds.client_profiles import with_common_profile
from pilotage.xds.problems import build_failed, unreported
from pilotage.xds.rule_budget import RuleBudget
from pilotage.xds.rule_files import RuleFiles, placed_in_file, refused_places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pilotage.core.problems import Problem
    from pilotage.policy import Policy
    from pilotage.routes.route import Route
    from pilotage.xds.label_files import LabelFiles
    from pilotage.xds.options import GatewayOptions

__all__ = ["RuledRoutes", "check_route", "rule_file_problems"]


class RuledRoutes:
    """The routes with rules.

    Args:
        most: memory that Envoys may need for the rules of all containers, in MiB.
        previous: the routes before the gateway's settings changed. Routes that were served keep their memory.

    Attributes:
        files: the files with rules that routes name.
        budget: the memory for the rules of containers.

    """

    def __init__(self, most: int, previous: RuledRoutes | None = None) -> None:
        self.files = RuleFiles()
        self.budget = RuleBudget(most)
        self._found: dict[str, Route] = {}  # alias -> the route with the rules in its file
        self._problems: dict[str, tuple[Problem, ...]] = {}
        if previous is not None:
            self.budget.inherit(previous.budget)

    def follow(
        self, routes: Mapping[str, Route], aliases: Iterable[str], policy: Policy = NO_POLICY
    ) -> Mapping[str, Route]:
        """Read the files of changed routes again; return all routes, with the rules in their files.

        Args:
            routes: all routes.
            aliases: the aliases of changed routes.
            policy: decides where the rules of containers may send requests.

        """
        for alias in aliases:
            self.files.forget(alias)
            self._found.pop(alias, None)
            self._problems.pop(alias, None)
            route = routes.get(alias)
            if route is None or route.excluded or not route.settings.rule_file:
                continue
            if not route.settings.rule_file.startswith(PRESET):
                self._found[alias], self._problems[alias] = self._read(route, policy)
        return ChainMap(self._found, routes) if self._found else routes  # type: ignore[arg-type]

    def _read(self, route: Route, policy: Policy) -> tuple[Route, tuple[Problem, ...]]:
        try:
            found, problems = self.files.apply(route)
            refused = () if route.is_static else refused_places(found, policy)
        except Exception as error:  # noqa: BLE001  an error in one route must not block the others
            return route, (build_failed(route, error),)
        return (route if refused else found), (*problems, *refused)

    def read(self, route: Route) -> tuple[Route, tuple[Problem, ...]]:
        """Return a route with the rules in its file, or the problem with the file, as :meth:`follow` last read it."""
        return self._found.get(route.alias, route), self._problems.get(route.alias, ())

    def admit(self, alias: str, route: Route | None) -> tuple[Route | None, tuple[Problem, ...]]:
        """Return a route; ``None`` and a problem if too little memory is left for its rules."""
        problems = self.budget.apply(alias, route)
        return (None if problems else route), problems

    def retry(self) -> Iterator[str]:
        """Yield the aliases of routes that can be admitted again now that other routes use less memory."""
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
        route = with_common_profile(route, options.client_profile)
        problems, servable = check(route, options)
        unreadable = (files.read(route) if not route.agent else ()) + without_rules  # an agent reads its own files
    except Exception as error:  # noqa: BLE001  an error in one route must not block the others
        return (build_failed(route, error),), None
    served = without_stream_hold(route) if servable and not unreadable else None
    problems = placed_in_file(route, problems) if route.settings.rule_file else problems
    return (*unreported(problems, route), *unreadable), served


def rule_file_problems(routes: Iterable[Route], policy: Policy) -> tuple[Problem, ...]:
    """Return the problems in the rule files of routes, as a gateway would report them.

    Args:
        routes: the routes; no two may have the same alias.
        policy: decides where the rules of containers may send requests, and what the gateway supports.

    """
    rules = RuledRoutes(0)
    found: list[Problem] = []
    named = {route.alias: route for route in routes}
    rules.follow(named, named, policy)
    for route in named.values():
        ruled, problems = rules.read(route)
        found += problems
        if policy.gateway is not None and ruled is not route:
            usual, _ = policy.gateway(route)
            others, _ = policy.gateway(ruled)
            found += placed_in_file(route, (it for it in others if it not in usual))
    return tuple(found)
