"""Limits the memory that Envoy needs for the rules of all containers together. Pure.

Each container may use at most a share of it. When the memory is used up, further routes are not served until others
need less. Routes from files belong to the operator and are not limited.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from pilotage.core.problems import Problem
from pilotage.routes.rules import RuleError
from pilotage.xds.bypass import bypass_ways
from pilotage.xds.middlewares import route_policy
from pilotage.xds.rule_outcomes import route_rules

if TYPE_CHECKING:
    from pilotage.routes.route import Route

__all__ = ["RuleBudget"]

_SHARE: Final = 4
"""The share of one container is the memory divided by this number."""
_MIB: Final = 1 << 20

Owner = tuple[str, str]


class RuleBudget:
    """The memory for the rules of all containers' routes.

    Args:
        most: the setting ``gateway.max_rule_memory``, in MiB.

    Attributes:
        refused: aliases of the routes that are not served, because there is too little memory for their rules.

    """

    def __init__(self, most: int) -> None:
        self.refused: set[str] = set()
        self._setting = most
        self._most = most * _MIB
        self._held: dict[str, tuple[Owner, int]] = {}
        self._of_owner: Counter[Owner] = Counter()
        self._freed = False

    def inherit(self, other: RuleBudget) -> None:
        """Let the routes that ``other`` admitted keep their places."""
        self._held = dict(other._held)
        self._of_owner = Counter(other._of_owner)

    def apply(self, alias: str, route: Route | None) -> tuple[Problem, ...]:
        """Account for the current state of a route; return a problem if it may not be served.

        Args:
            alias: alias of the route.
            route: the route; ``None`` if it is not served.

        """
        owner, before = self._held.pop(alias, (("", ""), 0))
        self._add(owner, -before)
        self.refused.discard(alias)
        size = _memory(route) if route is not None and not route.is_static else 0
        if route is None or not size:
            self._freed = self._freed or before > 0
            return ()
        owner = (route.provider, route.container)
        if self._of_owner[owner] + size > self._most // _SHARE:
            why = f"the rules of the container need more than {self._setting / _SHARE:g} MiB in Envoy"
        elif self._of_owner.total() + size > self._most:
            why = f"the rules of all containers need more than {self._setting} MiB in Envoy"
        else:
            self._held[alias] = (owner, size)
            self._add(owner, size)
            self._freed = self._freed or size < before
            return ()
        self.refused.add(alias)
        self._freed = self._freed or before > 0
        return (_problem(route, why, size),)

    def retry(self) -> set[str]:
        """Return the aliases of refused routes to try again now that other routes use less memory."""
        freed, self._freed = self._freed, False
        return set(self.refused) if freed else set()

    def _add(self, owner: Owner, size: int) -> None:
        self._of_owner[owner] += size
        if not self._of_owner[owner]:
            del self._of_owner[owner]


def _problem(route: Route, why: str, size: int) -> Problem:
    field = "rules" if route.settings.rules and not route.settings.rule_file else "middlewares"
    field = "rule_file" if route.settings.rule_file else field
    message = f"{why}, of which this route needs {max(size / _MIB, 0.1):.1f} MiB, so it is not served"
    hint = "write fewer rules, or end them with pass; the operator can raise gateway.max_rule_memory"
    problem = Problem(message=message, hint=hint, path=field, refused=True)
    return problem.at(provider=route.provider, container=route.container, route=route.alias)


def _memory(route: Route) -> int:
    """Estimate how many bytes Envoy needs for a route's rules and bypass options."""
    variants = route_policy(route.middlewares).variants
    own = route_rules(route).memory
    if not variants:
        return own
    try:
        ways = sum(len(bypass_ways(it.bypasses, route.alias)) for it in variants)
    except RuleError:  # the route is refused for that
        return own
    return own + ways * (own + _OF_WAY)


_OF_WAY: Final = 16 * 1024
"""Bytes for the tests and routes of one combination of conditions of a bypass."""
