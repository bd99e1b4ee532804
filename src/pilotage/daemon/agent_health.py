"""Lets agents check the health of the containers behind them, because Envoy cannot do this through an agent."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from pilotage.core.errors import EngineError
from pilotage.routes.route import EndpointHealth

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from pilotage.engine.agents import AgentHealth
    from pilotage.routes.route import HealthState, Route
    from pilotage.table.table import Table
    from pilotage.xds.backend import Member

__all__ = ["AgentHealthWatcher", "health_query"]


def health_query(route: Route, member: Member, *, scheme: str = "") -> dict[str, str]:
    """Return the query parameters that ask an agent to check a member of a route.

    Args:
        route: the route.
        member: a member of the route that is behind an agent.
        scheme: the scheme of the check, e.g. ``tcp``; the route's scheme if empty.

    """
    agent = member.agent
    place = agent.place_of(member.endpoint, member.host) if agent is not None else ""
    return {"scheme": scheme or route.scheme, "host": place, "path": route.settings.healthcheck.path or "/"}


class AgentHealthWatcher:
    """Checks the endpoints of routes behind agents, each at the interval of its route.

    An endpoint counts as unhealthy after as many failed checks in a row as its route allows. While an agent is
    unreachable, the endpoints behind it keep their last known health.

    Args:
        members: returns the members of the served route with a given alias.
        ask: called with an agent's address, a query and a timeout in seconds; returns the agent's result or raises
            EngineError.
        report: called with a route's alias and the health of its endpoints (address -> health) whenever that health has
            changed.

    """

    def __init__(
        self,
        members: Callable[[str], Iterable[Member]],
        ask: Callable[[str, Mapping[str, str], float], Awaitable[AgentHealth]],
        report: Callable[[str, Mapping[str, EndpointHealth]], object],
    ) -> None:
        self._members = members
        self._ask = ask
        self._report = report
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._routes: dict[str, Route] = {}

    def follow(self, table: Table, aliases: Iterable[str]) -> None:
        """Check each given route from now on if it has an agent and a health check; otherwise stop checking it."""
        for alias in aliases:
            route = table.routes.get(alias)
            if route is None or not route.agent or not route.probed:
                if self._routes.pop(alias, None) is not None:
                    self._tasks.pop(alias).cancel()
                    self._report(alias, {})
                continue
            self._routes[alias] = route
            if alias not in self._tasks:
                self._tasks[alias] = asyncio.create_task(self._check(alias), name=f"health of {alias}")

    async def close(self) -> None:
        """Stop checking."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _check(self, alias: str) -> None:
        known: dict[str, EndpointHealth] = {}
        failures: dict[str, int] = {}
        while True:
            route = self._routes[alias]
            members = {member.endpoint.address: member for member in self._members(alias) if member.agent is not None}
            results = await asyncio.gather(*(self._ask_one(route, member) for member in members.values()))
            before, known = known, {address: health for address, health in known.items() if address in members}
            failures = {address: number for address, number in failures.items() if address in members}
            for address, healthy in zip(members, results, strict=True):
                if healthy is None:
                    continue
                failures[address] = 0 if healthy else failures.get(address, 0) + 1
                failing = failures[address] >= max(1, route.settings.healthcheck.failures)
                state: HealthState = "healthy" if healthy else "unhealthy" if failing else "pending"
                old = known.get(address)
                if old is None or state not in (old.state, "pending"):
                    known[address] = EndpointHealth(state, time.time())
            if known != before:
                self._report(alias, dict(known))
            await asyncio.sleep(max(0.1, route.settings.healthcheck.interval))

    async def _ask_one(self, route: Route, member: Member) -> bool | None:
        """Return whether an endpoint is healthy; ``None`` if it has no agent or the agent does not say."""
        if member.agent is None:
            return None
        try:
            timeout = route.settings.healthcheck.timeout
            found = await self._ask(member.agent.address, health_query(route, member), timeout)
        except EngineError:
            return None
        return found.healthy
