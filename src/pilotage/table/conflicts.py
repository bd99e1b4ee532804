"""Decides which route gets an alias that several containers claim. Pure.

Rules: decision 23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.text import count
from pilotage.routes.route import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Resolution", "resolve_claims"]

_MAX_REPORTED: Final = 100  # conflicts of one alias; anyone who can start containers can make thousands


class Resolution(msgspec.Struct, frozen=True):
    """The outcome for one alias.

    Attributes:
        route: the winning route; for replicas, with the endpoints of all of them.
        problems: one for each claim that lost.

    """

    route: Route
    problems: tuple[Problem, ...] = ()


def resolve_claims(claims: Sequence[Route]) -> Resolution:
    """Choose between the routes that claim one alias.

    A route from a file wins over containers. Among containers whose route is served, the oldest one wins, by creation
    time, then name, then engine. Replicas from its Compose service add their endpoints. When the winner and its
    replicas are all draining, the oldest other route with a ready endpoint takes over.

    Args:
        claims: one or more routes with the same alias, in any order. The order does not affect the result.

    """
    if len(claims) == 1:
        return Resolution(claims[0])
    served = [route for route in claims if not route.excluded]
    awake = sorted((route for route in served if route.endpoints or route.scheme == "fileserver"), key=_age)
    if not awake:  # a sleeping container keeps its alias only while no other route is available
        return Resolution(min(served or claims, key=_age))
    winner = _winner(awake)
    replicas, losers = [winner], []
    for route in awake:
        if route is winner:
            continue
        if _is_replica(route, winner):
            replicas.append(route)
        elif not _is_draining(route):
            losers.append(route)
    problems = [_conflict(route, winner) for route in losers[:_MAX_REPORTED]]
    if len(losers) > _MAX_REPORTED:
        problems.append(_more_conflicts(winner, len(losers) - _MAX_REPORTED))
    if len(replicas) > 1:
        endpoints = tuple(endpoint for route in replicas for endpoint in route.endpoints)
        winner = msgspec.structs.replace(winner, endpoints=endpoints)
    if len(awake) > len(replicas) and not winner.is_static:
        winner = msgspec.structs.replace(winner, contested=True)
    return Resolution(winner, tuple(problems))


def _winner(awake: Sequence[Route]) -> Route:
    """Return the oldest route, or its successor if it and its replicas are all draining."""
    oldest = awake[0]
    if not all(_is_draining(route) for route in awake if route is oldest or _is_replica(route, oldest)):
        return oldest
    return next((route for route in awake if any(e.state == "ready" for e in route.endpoints)), oldest)


def _is_draining(route: Route) -> bool:
    return bool(route.endpoints) and all(endpoint.state == "draining" for endpoint in route.endpoints)


def _age(route: Route) -> tuple[int, str, str, str]:
    return (route.created, route.container, route.provider, route.container_id)


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


def _conflict(route: Route, winner: Route) -> Problem:
    if winner.is_static:
        return _conflict_with_file(route, winner.provider)
    elsewhere = winner.provider != route.provider
    holder = f"{winner.provider}/{winner.container}" if elsewhere else winner.container
    return Problem(
        message=f"alias {route.alias!r} belongs to {holder}, which is older; this one waits until that one is removed",
        hint="give one of them another alias with proxy.aliases",
        provider=route.provider,
        container=route.container,
        route=route.alias,
    )


def _conflict_with_file(route: Route, file: str) -> Problem:
    why = "which comes first by name" if route.is_static else "and files come before containers"
    other = "another name" if route.is_static else "another alias with proxy.aliases"
    return Problem(
        message=f"alias {route.alias!r} belongs to the file {file}, {why}; this one waits until that one is removed",
        hint=f"remove one of them, or use {other}",
        provider="" if route.is_static else route.provider,
        container=route.container,
        route=route.alias,
        file=route.provider if route.is_static else "",
    )
