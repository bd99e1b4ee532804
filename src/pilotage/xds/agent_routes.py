"""Decides which routes through agents can be served. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.xds.agent import TUNNELLED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.routes.route import EndpointHealth, Route
    from pilotage.xds.agent import Agent

__all__ = ["AgentRoutes"]


class AgentRoutes:
    """The known agents, and the routes that use them.

    Attributes:
        known: address -> agent.
        users: alias -> address or name of its agent, as written in the route.
        health: alias -> address of an endpoint -> the health that the agent reports for this endpoint.

    """

    def __init__(self) -> None:
        self.known: dict[str, Agent] = {}
        self.users: dict[str, str] = {}
        self.health: dict[str, Mapping[str, EndpointHealth]] = {}
        self._names: dict[str, str] = {}

    def replace(self, agents: Iterable[Agent]) -> set[str]:
        """Replace all agents; return the aliases of the routes whose agent was added, changed or removed."""
        before, names = self.known, self._names
        self.known = {agent.address: agent for agent in agents}
        self._names = {}
        for agent in self.known.values():
            self._names.setdefault(agent.name, agent.address)
        changed = {
            address for address in before.keys() | self.known.keys() if before.get(address) != self.known.get(address)
        }
        changed |= {name for name in names.keys() | self._names.keys() if names.get(name) != self._names.get(name)}
        changed |= {name for name, address in self._names.items() if address in changed}
        return {alias for alias, key in self.users.items() if key in changed}

    def find(self, key: str) -> Agent | None:
        """Return the agent with an address or, for a route from a file, with a name; ``None`` if it is not known."""
        return self.known.get(key) or self.known.get(self._names.get(key, ""))

    def apply(self, alias: str, route: Route | None) -> tuple[Route | None, tuple[Problem, ...]]:
        """Return a route with the health that its agent reports; ``None`` and a problem if the agent cannot serve it.

        Ready endpoints that the agent reports as unhealthy become unhealthy.
        """
        self.users.pop(alias, None)
        if route is None or not route.agent:
            return route, ()
        self.users[alias] = route.agent
        agent = self.find(route.agent)
        problem = _refusal(route, agent, self._names)
        if problem is not None or agent is None:
            return None, () if problem is None else (problem,)
        route = msgspec.structs.replace(route, agent=agent.address)
        return self._with_health(alias, route), ()

    def _with_health(self, alias: str, route: Route) -> Route:
        health = self.health.get(alias)
        if not health:
            return route
        endpoints = tuple(
            msgspec.structs.replace(endpoint, state="unhealthy")
            if endpoint.state == "ready"
            and (found := health.get(endpoint.address)) is not None
            and found.state == "unhealthy"
            else endpoint
            for endpoint in route.endpoints
        )
        return route if endpoints == route.endpoints else msgspec.structs.replace(route, endpoints=endpoints)


def _refusal(route: Route, agent: Agent | None, names: Iterable[str]) -> Problem | None:
    where: dict[str, Any] = {"provider": route.provider, "container": route.container, "route": route.alias}
    if agent is None:
        known = ", ".join(sorted(names)) or "none"
        message = f"agent {shorten(route.agent, 60)!r} not found"
        return Problem(message=message, hint=f"list the agent under providers.agents; known agents: {known}", **where)
    if agent.problem:
        return Problem(message=agent.problem, hint="'pilotage agent check' shows details", **where)
    why, hint = _no_tunnel(route.scheme, agent)
    return Problem(message=f"{why}, so the route is not served", hint=hint, path="scheme", **where) if why else None


def _no_tunnel(scheme: str, agent: Agent) -> tuple[str, str]:
    """Return why an agent cannot tunnel a route's scheme, and a hint; both are empty if it can or need not."""
    elsewhere = "reach this engine by ssh:// or tls:// instead"
    if scheme not in TUNNELLED:
        return "", ""
    if not agent.tunnels:
        return f"scheme {scheme} needs a newer agent, because this one has no tunnel", "upgrade the agent"
    if not agent.relay:
        return (
            f"scheme {scheme} behind an agent needs an Envoy that pilotage runs",
            f"remove --no-gateway, or {elsewhere}",
        )
    if scheme == "udp" and not agent.datagrams:
        return "scheme udp behind an agent needs pyOpenSSL", "install it: pip install 'pilotage[agents]'"
    return "", ""
