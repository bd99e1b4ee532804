"""Decides which routes may approve requests to other routes (forwardauth). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.xds.middlewares import route_policy
from pilotage.xds.problems import as_refused, auth_route_behind_agent, auth_route_not_served, auth_route_restricted
from pilotage.xds.rule_outcomes import route_rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.core.problems import Problem
    from pilotage.routes.route import Route
    from pilotage.xds.backend import Backend
    from pilotage.xds.middlewares import RoutePolicy
    from pilotage.xds.reported_problems import ReportedProblems

__all__ = ["approval", "auth_checked", "auth_problem", "restricts_access", "without_auth_route"]

_NOWHERE: Final = "/"
"""Not an alias, so Envoy has no cluster for it and rejects all requests."""


def restricts_access(route: Route | None, profile: str = "") -> bool:
    """Return whether a route restricts access further than by a profile of client certificates."""
    if route is None:
        return False
    policy = route_policy(route.middlewares)
    restricted = bool(policy.allow) or route.settings.inbound_mtls_profile not in {"", profile}
    return restricted or policy.is_protected or route_rules(route).signs_in


def approval(route: Route | None) -> tuple[bool, bool, str]:
    """Return what decides whether a route can approve requests to others.

    Returns:
        Whether requests for approval can reach the route by its alias, whether the route restricts access by other
        means than client certificates, and the profile of the client certificates that it requires.

    """
    served = route is not None and not route.is_stream and not route.settings.load_balance.link and not route.agent
    profile = route.settings.inbound_mtls_profile if route is not None else ""
    return served, restricts_access(route, profile), profile


def auth_problem(route: Route, name: str, auth_route: Route | None, middleware: str = "forwardauth") -> Problem | None:
    """Return why a route cannot approve requests to another route; ``None`` if it can.

    Requests for approval go directly to the route's target. A route that restricts access therefore cannot approve
    requests, because requests for approval would bypass the restriction, unless both routes require the same client
    certificates. Nor can a route behind an agent, because
    requests for approval would lack the path prefix that agents require.

    Args:
        route: the route whose requests must be approved.
        name: the alias in this route's middleware.
        auth_route: the route with that alias, if it is served.
        middleware: the middleware that asks ``auth_route``.

    """
    served, restricted, profile = approval(auth_route)
    restricted = restricted or profile not in {"", route.settings.inbound_mtls_profile}
    if auth_route is not None and auth_route.agent:
        return auth_route_behind_agent(route, name, middleware)
    if not served:
        return auth_route_not_served(route, name, middleware)
    return auth_route_restricted(route, name, middleware) if restricted else None


def auth_checked(key: str, backend: Backend, routes: Mapping[str, Route], problems: ReportedProblems) -> Backend:
    """Report a forwardauth route that cannot approve requests, and let the backend reject all its requests.

    Args:
        key: identifies the backend.
        backend: the backend.
        routes: all served routes by alias.
        problems: where to report the problem.

    """
    auth = backend.route_policy.auth
    problem = auth_problem(backend.route, auth.route, routes.get(auth.route), auth.middleware) if auth else None
    problems.report(f"auth/{key}", as_refused([problem] if problem is not None else ()))
    return backend if problem is None else without_auth_route(backend)


def without_auth_route(backend: Backend) -> Backend:
    """Return a copy of a backend that rejects all requests, because no route can approve them."""
    return msgspec.structs.replace(backend, route_policy=_nowhere(backend.route_policy))


def _nowhere(policy: RoutePolicy) -> RoutePolicy:
    auth = msgspec.structs.replace(policy.auth, route=_NOWHERE) if policy.auth is not None else None
    variants = tuple(msgspec.structs.replace(it, policy=_nowhere(it.policy)) for it in policy.variants)
    return msgspec.structs.replace(policy, auth=auth, variants=variants)
