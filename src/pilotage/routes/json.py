"""Converts routes to JSON: the properties of every route, then each field that labels set. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.routes.route import EndpointState, HealthState
from pilotage.routes.schema import ROUTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.routes.route import Endpoint, EndpointHealth, Route

__all__ = [
    "EndpointJson",
    "HealthJson",
    "PortJson",
    "RouteJson",
    "describe_endpoints",
    "route_fields",
    "route_json",
    "route_properties",
]


class HealthJson(msgspec.Struct, frozen=True):
    """The last result of the probes of an endpoint by the daemon's Envoy.

    Attributes:
        state: the result; ``pending`` before the first probe.
        since: Unix time in seconds when this result was first seen.

    """

    state: HealthState
    since: float


class EndpointJson(msgspec.Struct, frozen=True):
    """An endpoint of a route.

    Attributes:
        container: the name of the endpoint's container; ``""`` for a route from a file.
        host, port: the address at which the endpoint listens.
        state: the state of the endpoint's container, according to the engine.
        health: the result of Envoy's probes; null if Envoy does not probe the endpoint.

    """

    container: str
    host: str
    port: int
    state: EndpointState
    health: HealthJson | None


class PortJson(msgspec.Struct, frozen=True):
    """The ports of a route.

    Attributes:
        listening: the port on which the gateway listens for this route; 0 for the gateway's usual ports.
        proxy: the port of the target.

    """

    listening: int
    proxy: int


class RouteJson(msgspec.Struct, frozen=True, kw_only=True):
    """A route. Its other properties are the fields that labels set. Names of durations end in _s (seconds).

    Attributes:
        alias: the name of the route.
        provider: the route's engine, or the file that defines the route.
        container: the route's container, or the oldest of several replicas.
        scheme, host, port: the route's target.
        listen: the route's own listener, as a URL; null if the route has none.
        target: the route's target as a URL; null while the host is unknown.
        endpoints: the containers that take the route's requests.
        excluded: whether the route is excluded, and therefore not served.
        excluded_reason: why the route is excluded.
        refused: the settings that keep the gateway from serving the route; null if the route is served.
        health_check: whether a health check applies to the route.
        idle_watcher: whether the route's container sleeps while there are no requests.
        pool: the pool under whose name the route is served; null if the route is in no pool.
        bind: the address on which the gateway listens for the route; omitted for the gateway's usual addresses.

    """

    alias: str
    provider: str
    container: str
    scheme: str
    host: str
    port: PortJson
    listen: str | None
    target: str | None
    endpoints: list[EndpointJson]
    excluded: bool
    excluded_reason: str
    refused: list[str] | None
    health_check: bool
    idle_watcher: bool
    pool: str | None
    bind: str | msgspec.UnsetType = msgspec.UNSET


_SHOWN_ANYWAY: Final = frozenset({"alias", "scheme", "host", "port", "bind"})


def route_json(
    route: Route,
    health: Mapping[str, EndpointHealth] = MappingProxyType({}),
    refused: Iterable[str] | None = None,
    known: dict[tuple[int, tuple[str, ...]], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return a route as plain data for JSON: facts, then each field that labels set. Keys of durations end in ``_s``.

    Secrets are replaced by ``<hidden>`` (:mod:`pilotage.core.secrets`).

    Args:
        route: the route.
        health: endpoint address -> result of its probes.
        refused: the settings for which the gateway does not serve the route; if omitted, those in its problems.
        known: the fields of routes already converted, which routes with the same settings share; new ones are added.
            Pass the same mapping for all routes of a table, and none for routes that may be gone by the next call.

    """
    shown: dict[str, Any] = msgspec.to_builtins(RouteJson(**route_properties(route, health, refused)))
    return shown | route_fields(route, known)


def route_properties(
    route: Route, health: Mapping[str, EndpointHealth], refused: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the attributes of a :class:`RouteJson`. The arguments are as for :func:`route_json`."""
    if refused is None and route.excluded:
        refused = dict.fromkeys(problem.path for problem in route.problems if problem.refused) or None
    return {
        "alias": route.alias,
        "provider": route.provider,
        "container": route.container,
        "scheme": route.scheme,
        "host": route.host,
        "port": PortJson(route.port.listening, route.port.proxy),
        "listen": route.listen,
        "target": route.target,
        "endpoints": describe_endpoints(route, health),
        "excluded": route.excluded,
        "excluded_reason": str(route.excluded_reason),
        "refused": None if refused is None else list(refused),
        "health_check": route.health_check,
        "idle_watcher": route.idle_watcher,
        "pool": route.pool or None,
        "bind": route.bind or msgspec.UNSET,
    }


def route_fields(
    route: Route, known: dict[tuple[int, tuple[str, ...]], dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the fields that labels set, without secrets. ``known`` is as for :func:`route_json`."""
    known = {} if known is None else known
    key = (id(route.settings), route.labelled)
    fields = known.get(key)
    if fields is None:
        fields = known[key] = dict(
            ROUTE.fields[name].kind.dump(name, getattr(route.settings, name))
            for name in (*route.labelled, *_set_by_the_gateway(route))
            if name not in _SHOWN_ANYWAY
        )
    return fields


def _set_by_the_gateway(route: Route) -> tuple[str, ...]:
    """Return the field that the gateway requires of every route, even of those without a label for it."""
    return ("inbound_mtls_profile",) if route.settings.inbound_mtls_profile else ()


def describe_endpoints(route: Route, health: Mapping[str, EndpointHealth]) -> list[EndpointJson]:
    """Return the endpoints of a route. ``health`` is as for :func:`route_json`."""
    return [_endpoint(endpoint, health.get(endpoint.address)) for endpoint in route.endpoints]


def _endpoint(endpoint: Endpoint, health: EndpointHealth | None) -> EndpointJson:
    found = None if health is None else HealthJson(health.state, health.since)
    return EndpointJson(endpoint.container, endpoint.host, endpoint.port, endpoint.state, found)
