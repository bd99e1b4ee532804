"""5. The table: which route answers for each alias, of all engines together. Pure.

One alias belongs to one container, or to the replicas of one compose service; who else wants it is a reported conflict
(decision 23). Excluded routes never compete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from pilotage.problems import Problem
from pilotage.routes.route import Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pilotage.roster import Roster

__all__ = ["Settled", "Table", "build_table", "settle"]


class Table(msgspec.Struct, frozen=True):
    """Every alias and its route.

    Attributes:
        routes: alias -> route, by name; excluded ones too.
        problems: everything that is wrong anywhere, in the order of engines and containers, conflicts last.

    """

    routes: Mapping[str, Route]
    problems: tuple[Problem, ...] = ()

    def pools(self) -> dict[str, tuple[str, ...]]:
        """Return each pool's name (``load_balance.link``) and the aliases of its served members."""
        found: dict[str, list[str]] = {}
        for alias, route in self.routes.items():
            link = route.settings.load_balance.link
            if link and not route.excluded:
                found.setdefault(link, []).append(alias)
        return {link: tuple(found[link]) for link in sorted(found)}


class Settled(msgspec.Struct, frozen=True):
    """Who got an alias.

    Attributes:
        route: the route; of replicas, one with all their endpoints.
        problems: one for each container that wants the alias in vain.

    """

    route: Route
    problems: tuple[Problem, ...] = ()


def settle(claims: Sequence[Route]) -> Settled:
    """Decide between the routes that claim one alias.

    The oldest routable container keeps it, by creation time, then name, then engine. Replicas of its compose service
    join it with their endpoints. When it goes, the next one takes over by itself.

    Args:
        claims: at least one route, all with the same alias, in any order.

    """
    if len(claims) == 1:
        return Settled(claims[0])
    served = sorted((route for route in claims if not route.excluded), key=_age)
    if not served:
        return Settled(min(claims, key=_age))
    incumbent, *others = served
    replicas, problems = [incumbent], []
    for route in others:
        if _is_replica(route, incumbent):
            replicas.append(route)
        else:
            problems.append(_conflict(route, incumbent))
    if len(replicas) > 1:
        endpoints = tuple(endpoint for route in replicas for endpoint in route.endpoints)
        incumbent = msgspec.structs.replace(incumbent, endpoints=endpoints)
    return Settled(incumbent, tuple(problems))


def _age(route: Route) -> tuple[int, str, str, str]:
    return (route.created, route.container, route.provider, route.container_id)


def _is_replica(route: Route, of: Route) -> bool:
    return bool(of.service) and route.service == of.service and route.scheme == of.scheme


def _conflict(route: Route, incumbent: Route) -> Problem:
    where = (
        f"{incumbent.provider}/{incumbent.container}" if incumbent.provider != route.provider else incumbent.container
    )
    return Problem(
        message=f"alias {route.alias!r} belongs to container {where}, which is older; this one waits until it goes",
        hint="give one of them another alias with proxy.aliases",
        provider=route.provider,
        container=route.container,
        route=route.alias,
    )


def build_table(rosters: Iterable[Roster]) -> Table:
    """Bring the routes of all engines together."""
    claims: dict[str, list[Route]] = {}
    problems: list[Problem] = []
    for roster in rosters:
        problems += roster.problems
        for built in roster.built:
            problems += built.problems
            for route in built.routes:
                claims.setdefault(route.alias, []).append(route)
    routes = {}
    for alias in sorted(claims):
        settled = settle(claims[alias])
        routes[alias] = settled.route
        problems += settled.problems
    return Table(routes, tuple(problems))
