"""Ranks the claims to one name: files first, then earlier holders, then by engine, age and name. Pure.

Rules: decision 31.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pilotage.routes.route import Route

__all__ = ["Holder", "Rank", "Ranking", "holder_of", "is_draining", "is_open", "is_ready", "may_stand_in", "successor"]

Holder = tuple[str, ...]
"""Holder of a name: the ``service`` of its route, which replicas share, or else ``(engine, container ID)``."""

Rank = tuple[bool, int, int, str, int, str, str]
"""Sort key of a claim; the lowest is first."""

_NEVER: Final = 1 << 62


def holder_of(route: Route) -> Holder:
    """Return the holder of a route's names: its Compose service, or else its container."""
    return route.service or (route.provider, route.container_id)


class Ranking:
    """Ranks claims.

    Args:
        engines: names of the engines in their configured order. Others come last, by name.

    """

    def __init__(self, engines: Iterable[str] = ()) -> None:
        self.engines = tuple(engines)
        self._order = {name: index for index, name in enumerate(self.engines)}

    def rank(self, route: Route, held: Sequence[Holder] = ()) -> Rank:
        """Return the rank of a claim.

        The engine ranks before age, because engines report the ages of their own containers and could invent them. A
        creation time of 0 or less counts as the youngest.

        Args:
            route: the claim.
            held: the previous holders of the name that still exist, earliest first.

        """
        if route.is_static:
            return (False, 0, 0, route.provider, 0, "", "")
        holder = holder_of(route)
        since = held.index(holder) if holder in held else len(held)
        engine = self._order.get(route.provider, len(self._order))
        created = route.created if route.created > 0 else _NEVER
        return (True, since, engine, route.provider, created, route.container, route.container_id)

    def why(self, winner: Route, loser: Route, held: Sequence[Holder] = ()) -> str:
        """Return why a claim won, as a clause that follows the name of its container or file."""
        first, second = self.rank(winner, held), self.rank(loser, held)
        if winner.is_static:
            return "which comes first by name" if loser.is_static else "and files come before containers"
        if first > second:
            return "which is ready"
        if first[1] != second[1]:
            return "which had it first"
        if first[2:4] != second[2:4]:
            return "whose engine comes first"
        return "which is older" if first[4] != second[4] else "which comes first by name"


def is_open(route: Route) -> bool:
    """Return whether a route is served by a running container. A sleeping container yields to others."""
    return not route.excluded and (bool(route.endpoints) or route.scheme == "fileserver")


def is_draining(routes: Iterable[Route]) -> bool:
    """Return whether all containers behind some routes have been told to stop."""
    states = {endpoint.state for route in routes for endpoint in route.endpoints}
    return states == {"draining"}


def is_ready(route: Route) -> bool:
    """Return whether a route has a ready endpoint."""
    return any(endpoint.state == "ready" for endpoint in route.endpoints)


def may_stand_in(route: Route, routes: Iterable[Route], held: Sequence[Holder]) -> bool:
    """Return whether a route may serve a name instead of the routes that hold it.

    If all containers of the holder have been told to stop, any route with a ready endpoint may stand in. If some have
    started again but are not healthy yet, only a route that is already standing in may continue until they are.

    Args:
        route: the route that may stand in.
        routes: the routes that hold the name.
        held: the previous holders of the name, including routes that stood in.

    """
    states = {endpoint.state for each in routes for endpoint in each.endpoints}
    if not states or states - {"draining", "waiting"} or not is_ready(route):
        return False
    return states == {"draining"} or holder_of(route) in held


def successor(held: Sequence[Holder], now: Iterable[Holder], present: Collection[Holder]) -> tuple[Holder, ...]:
    """Return all previous and current holders of a name that still claim it, the earliest first.

    Args:
        held: its holders before a change, the earliest first.
        now: its holders after the change.
        present: all claimants of the name, including stopped containers.

    """
    return tuple(dict.fromkeys((*(holder for holder in held if holder in present), *now)))
