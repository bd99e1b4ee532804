"""Decides which route gets an alias that several containers claim. Pure.

Rules: decisions 23 and 31.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.text import count
from pilotage.routes.route import Route
from pilotage.table.precedence import Ranking, is_draining, is_open, may_stand_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.table.precedence import Holder

__all__ = ["Resolution", "name_of", "resolve_claims"]

_MAX_REPORTED: Final = 100  # conflicts of one alias; anyone who can start containers can make thousands


class Resolution(msgspec.Struct, frozen=True):
    """The outcome for one alias.

    Attributes:
        route: the winning route; for replicas, with the endpoints of all replicas.
        problems: a problem for each route that claims the alias but does not get it.

    """

    route: Route
    problems: tuple[Problem, ...] = ()


def resolve_claims(claims: Sequence[Route], ranking: Ranking | None = None, held: Sequence[Holder] = ()) -> Resolution:
    """Choose between the routes that claim one alias.

    The route with the best rank wins. Replicas from the winner's Compose service add their endpoints. When the winner
    and its replicas are all draining, the next route with a ready endpoint stands in until the winner is healthy again.

    Args:
        claims: one or more routes with the same alias, in any order. The order does not affect the result.
        ranking: ranks the claims, knowing the order of engines.
        held: the previous holders of the alias that still claim it, the earliest first.

    """
    if len(claims) == 1:
        return Resolution(claims[0])
    ranking = ranking or Ranking()
    ranked = sorted(claims, key=lambda route: ranking.rank(route, held))
    awake = [route for route in ranked if is_open(route)]
    if not awake:  # a sleeping container keeps its alias only while no other route is available
        return Resolution(next((route for route in ranked if not route.excluded), ranked[0]))
    winner = _winner(awake, held)
    replicas, losers = [winner], []
    for route in awake:
        if route is winner:
            continue
        if _is_replica(route, winner):
            replicas.append(route)
        elif not is_draining((route,)):
            losers.append(route)
    problems = [_conflict(route, winner, ranking.why(winner, route, held)) for route in losers[:_MAX_REPORTED]]
    if len(losers) > _MAX_REPORTED:
        problems.append(_more_conflicts(winner, len(losers) - _MAX_REPORTED))
    if len(replicas) > 1:
        endpoints = tuple(endpoint for route in replicas for endpoint in route.endpoints)
        winner = msgspec.structs.replace(winner, endpoints=endpoints)
    if len(awake) > len(replicas) and not winner.is_static:
        winner = msgspec.structs.replace(winner, contested=True)
    return Resolution(winner, tuple(problems))


def _winner(awake: Sequence[Route], held: Sequence[Holder]) -> Route:
    """Return the route with the best rank or, while all its containers drain, the route that stands in."""
    first = awake[0]
    group = [route for route in awake if route is first or _is_replica(route, first)]
    if any(route.scheme == "fileserver" for route in group):
        return first
    return next((route for route in awake if may_stand_in(route, group, held)), first)


def _is_replica(route: Route, of: Route) -> bool:
    return bool(of.service) and route.service == of.service and route.scheme == of.scheme


def _more_conflicts(winner: Route, number: int) -> Problem:
    return Problem(
        message=f"alias {winner.alias!r} is also claimed by {count(number, 'other container')}, not listed here",
        hint="give each container its own alias with proxy.aliases",
        provider=winner.provider,
        container=winner.container,
        route=winner.alias,
    )


def _conflict(route: Route, winner: Route, why: str) -> Problem:
    other = "another name" if route.is_static else "another alias with proxy.aliases"
    hint = f"remove one of them, or use {other}" if winner.is_static else f"give one of them {other}"
    return Problem(
        message=f"alias {route.alias!r} belongs to {name_of(winner, route)}, {why}; this route waits until the other "
        "is removed",
        hint=hint,
        provider="" if route.is_static else route.provider,
        container=route.container,
        route=route.alias,
        file=route.provider if route.is_static else "",
    )


def name_of(route: Route, seen_from: Route) -> str:
    """Return the name of a route's file or container, with its engine unless ``seen_from`` is on the same engine."""
    if route.is_static:
        return f"the file {route.provider}"
    return route.container if route.provider == seen_from.provider else f"{route.provider}/{route.container}"
