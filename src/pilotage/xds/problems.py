"""Describes the problems with routes that the snapshot finds while it builds Envoy resources. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.secrets import without
from pilotage.core.text import shorten
from pilotage.routes.route import secrets_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.routes.route import Endpoint, Route
    from pilotage.xds.backend import Backend

__all__ = [
    "as_refused",
    "auth_route_behind_agent",
    "auth_route_not_served",
    "auth_route_restricted",
    "build_failed",
    "not_measured",
    "of_route",
    "port_in_use",
    "speaks_plain_http",
    "target_problem",
    "unreported",
    "unresolved",
]


def build_failed(route: Route, error: Exception) -> Problem:
    """Report an unexpected error while building the resources of a route."""
    reason = shorten(without(str(error), secrets_of(route)), 160)
    return _problem(
        route,
        f"not served, because its Envoy configuration cannot be built: {type(error).__name__}: {reason}",
        "look for an unusual value in its labels, and report this as a bug in pilotage",
    )


def not_measured(backend: Backend, most: int) -> Problem:
    """Report that Envoys do not count the requests of a backend, because they already count too many names."""
    return msgspec.structs.replace(
        _problem(
            backend.route,
            f"its requests are not counted, because Envoy already counts those of {most:,} other names",
            "restart pilotage and Envoy",
        ),
        severity="warning",
    )


def auth_route_not_served(route: Route, auth_route: str, middleware: str) -> Problem:
    """Report that a route's forwardauth or crowdsec refers to a route that is not served."""
    return _problem(
        route,
        f"all requests are rejected, because they must be approved by the route {auth_route!r}, which is not served",
        f"start a container with the alias {auth_route!r}, or use another route",
        path=f"middlewares.{middleware}",
    )


def auth_route_restricted(route: Route, auth_route: str, middleware: str) -> Problem:
    """Report that a route's forwardauth or crowdsec refers to a route that itself restricts access."""
    return _problem(
        route,
        f"all requests are rejected, because the route {auth_route!r}, which must approve them, restricts access, too",
        "use a route without cidr_whitelist and forwardauth, because requests for approval bypass them",
        path=f"middlewares.{middleware}",
    )


def auth_route_behind_agent(route: Route, auth_route: str, middleware: str) -> Problem:
    """Report that a route's forwardauth or crowdsec refers to a route behind an agent."""
    return _problem(
        route,
        f"all requests are rejected, because the route {auth_route!r}, which must approve them, is behind an agent",
        "run the auth service where pilotage runs, or reach its engine by ssh:// or tls://",
        path=f"middlewares.{middleware}",
    )


def as_refused(problems: Iterable[Problem]) -> list[Problem]:
    """Mark problems as the reasons why the gateway does not serve a route."""
    return [msgspec.structs.replace(problem, refused=True) for problem in problems]


def of_route(problems: Iterable[Problem], route: Route | None, served: Route | None) -> Iterable[Problem]:
    """Return a route's problems. If no part of the route is served, mark them as the reasons for this.

    Args:
        problems: the problems.
        route: the route in the table.
        served: the part of the route that is served; ``None`` if no part is served.

    """
    lost = served is None or (route is not None and bool(route.endpoints) and not served.endpoints)
    return as_refused(problems) if lost else problems


def unreported(problems: Iterable[Problem], route: Route) -> list[Problem]:
    """Return the problems except those that the route itself already reports, with a more precise place."""
    if not route.problems:
        return list(problems)
    known = {(problem.message, problem.path) for problem in route.problems}
    return [problem for problem in problems if (problem.message, problem.path) not in known]


def target_problem(route: Route, endpoint: Endpoint, message: str, hint: str, *, path: str = "host") -> Problem:
    """Return a problem with the target of a route, located at the endpoint's container."""
    container = endpoint.container if path == "host" else route.container
    return Problem(
        message=message, hint=hint, provider=route.provider, container=container, route=route.alias, path=path
    )


def unresolved(route: Route, endpoint: Endpoint, error: str) -> Problem:
    """Report that a host name cannot be resolved."""
    hint = "correct the host, or check the name server that this machine uses"
    return target_problem(route, endpoint, f"the host {endpoint.host!r} cannot be resolved: {error}", hint)


def port_in_use(backend: Backend, by: Backend, address: str, why: str) -> Problem:
    """Report that the route ``by`` already has a backend's listening address; ``why`` is the reason."""
    protocol, _, port = address.partition("/")
    found = _problem(
        backend.route,
        f"{protocol} port {port} belongs to {by.name}, {why}",
        f"choose another listening port for {backend.name}",
        path="port",
    )
    return msgspec.structs.replace(found, refused=True)


def speaks_plain_http(route: Route) -> Problem:
    """Report an https target that speaks plain HTTP and so receives its requests as http."""
    found = _problem(
        route,
        "the target speaks plain HTTP, so requests are sent to it as http, not https",
        f"set proxy.{route.alias}.scheme: http, or let the target speak TLS",
        path="scheme",
    )
    return msgspec.structs.replace(found, severity="warning")


def _problem(route: Route, message: str, hint: str, *, path: str = "") -> Problem:
    return Problem(
        message=message, hint=hint, provider=route.provider, container=route.container, route=route.alias, path=path
    )
