"""Builds the Envoy routes for requests to containers that are not awake. Pure.

The route sends requests to a cluster that Envoy does not have. Envoy's on-demand filter asks for this cluster once, and
lets the requests wait until the cluster arrives. A browser's page load gets a page instead, which the control plane
renders.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2

from pilotage.xds.filters import PAGE_FILTER
from pilotage.xds.literals import literal
from pilotage.xds.local_replies import direct_response
from pilotage.xds.resources import header, packed, seconds

if TYPE_CHECKING:
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions

__all__ = ["EVENTS_PATH", "PAGES_CLUSTER", "ROUTE_HEADER", "while_closed"]

PAGES_CLUSTER: Final = "pilotage-pages"
"""Name in Envoy's bootstrap of the cluster that serves the page's events."""

EVENTS_PATH: Final = "/.pilotage/wake-events"
"""Path of the page's events, on the host of the service."""

ROUTE_HEADER: Final = "x-pilotage-route"
"""The request header with the route's alias, for that server."""

_NOT_STARTED: Final = "This service could not be started."
_NOT_WAKING: Final = "This service is asleep, and only its start page wakes it.\n"


def while_closed(backend: Backend, routes: list[Any], options: GatewayOptions) -> list[Any]:
    """Return the routes of a backend while its containers are not awake; if they are awake, return the given routes.

    Args:
        backend: the backend.
        routes: its Envoy routes while its containers are awake.
        options: the gateway's settings.

    """
    gate = backend.gate
    if gate is None or gate.opening == "open":
        return routes
    found = [_events(backend, options)] if gate.page else []
    if gate.opening == "failed":
        found += [_page(backend, routes[-1])] if gate.page else []
        return [*found, _failed()]
    waking = [_page(backend, routes[-1]), *routes] if gate.page else routes
    if gate.start_path:
        return [*found, *(_at(gate.start_path, route) for route in waking), _forbidden()]
    return [*found, *waking]


def _at(path: str, route: Any) -> Any:
    """Return a copy of a route, limited to one path. It keeps the prefix match, because ``add_prefix`` needs it."""
    limited = route_components_pb2.Route()
    limited.CopyFrom(route)
    pattern = regex_pb2.RegexMatcher(regex=rf"{re.escape(path)}(?:\?.*)?")
    matcher = string_pb2.StringMatcher(safe_regex=pattern)
    limited.match.headers.append(route_components_pb2.HeaderMatcher(name=":path", string_match=matcher))
    return limited


def _page(backend: Backend, route: Any) -> Any:
    """Return the route for a browser's page load, which the control plane answers."""
    page = route_components_pb2.Route()
    page.CopyFrom(route)
    matcher = route_components_pb2.HeaderMatcher
    page.match.headers.extend(
        [
            matcher(name=":method", string_match=string_pb2.StringMatcher(exact="GET")),
            matcher(name="accept", string_match=string_pb2.StringMatcher(contains="text/html")),
            matcher(name="upgrade", present_match=False),
        ]
    )
    check = ext_authz_pb2.CheckSettings(context_extensions={"page": backend.gate_name})
    page.typed_per_filter_config[PAGE_FILTER].CopyFrom(packed(ext_authz_pb2.ExtAuthzPerRoute(check_settings=check)))
    return page


def _events(backend: Backend, options: GatewayOptions) -> Any:
    """Return the route that serves the page's events."""
    route = route_components_pb2.Route(match=route_components_pb2.RouteMatch(path=EVENTS_PATH))
    route.route.cluster = PAGES_CLUSTER
    route.route.timeout.CopyFrom(seconds(0))
    route.route.idle_timeout.CopyFrom(seconds(options.body_timeout))
    route.request_headers_to_add.append(header(ROUTE_HEADER, literal(backend.gate_name)))
    return route


def _answer(status: int, text: str) -> Any:
    answer = route_components_pb2.DirectResponseAction(status=status, body=base_pb2.DataSource(inline_string=text))
    return route_components_pb2.Route(match=route_components_pb2.RouteMatch(prefix="/"), direct_response=answer)


def _failed() -> Any:
    return route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(prefix="/"), direct_response=direct_response(_NOT_STARTED)
    )


def _forbidden() -> Any:
    return _answer(403, _NOT_WAKING)
