"""Describes whether a route is served, in one word for programs and a few for people. Pure."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.support import not_served, refused_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.routes.route import EndpointHealth, Route
    from pilotage.table.wakefulness import Wakefulness

__all__ = ["RouteStatus", "StatusState", "clock", "describe_route"]

StatusState = Literal[
    "healthy", "ready", "degraded", "failing", "waiting", "draining", "asleep", "waking", "stale", "excluded", "refused"
]
"""The state of a route.

=============  ===================================================================================================
``healthy``    the gateway's probes pass
``ready``      takes requests; nothing probes it, or it has not been probed yet
``degraded``   some of its endpoints take requests
``failing``    none of its endpoints is healthy, or its containers could not be woken
``waiting``    its container has not been healthy yet
``draining``   its container is about to stop
``asleep``     its containers sleep, or are falling asleep
``waking``     its containers are being woken
``stale``      its engine is unreachable; the last known route is kept
``excluded``   not served, because of a label, the state of its container, or another route with the same name
``refused``    not served, because the gateway or Envoy refuses one of its settings
=============  ===================================================================================================
"""


class RouteStatus(msgspec.Struct, frozen=True):
    """Whether a route is served.

    Attributes:
        state: the state.
        text: the state in a few words, such as ``2 of 3 ready``; for a route that is not served, the reason.
        is_error: whether the route needs attention: it failed, or an error keeps it from being served.

    """

    state: StatusState
    text: str
    is_error: bool = False


def describe_route(
    route: Route,
    health: Mapping[str, EndpointHealth] = MappingProxyType({}),
    wakefulness: Wakefulness | None = None,
    *,
    refused: tuple[str, ...] | None = None,
    stale_since: float | None = None,
) -> RouteStatus:
    """Return the status of a route.

    Args:
        route: the route.
        health: endpoint address -> result of the gateway's probes.
        wakefulness: whether the route's containers are awake; ``None`` if no daemon puts them to sleep.
        refused: the settings because of which the gateway does not serve the route; ``None`` if it does.
        stale_since: when the route's engine became unreachable, in seconds since 1970; ``None`` if it is reachable.

    """
    found = _own_status(route, health, wakefulness, refused)
    if stale_since is None or found.state in ("excluded", "refused"):
        return found
    return RouteStatus("stale", f"{found.text}, stale since {clock(stale_since)}")


def _own_status(
    route: Route,
    health: Mapping[str, EndpointHealth],
    wakefulness: Wakefulness | None,
    refused: tuple[str, ...] | None,
) -> RouteStatus:
    if route.excluded_reason == ExclusionReason.ERROR:
        own = refused_settings(route.problems).get(route.alias)
        state: StatusState = "refused" if own else "excluded"
        return RouteStatus(state, not_served(own) if own else "error, see below", is_error=True)
    if route.excluded:
        return RouteStatus("excluded", route.excluded_reason)
    if refused is not None:
        return RouteStatus("refused", not_served(refused), is_error=True)
    if wakefulness is not None and wakefulness.state != "ready":
        since = f" since {clock(wakefulness.since)}" if wakefulness.state == "asleep" else ""
        return RouteStatus(
            _SLEEP.get(wakefulness.state, "asleep"),
            wakefulness.remark + since,
            is_error=wakefulness.state == "failed",
        )
    if not route.endpoints:
        return RouteStatus("asleep", "asleep") if route.idle_watcher else RouteStatus("ready", "ready")
    return _of_endpoints(route, health)


def _of_endpoints(route: Route, health: Mapping[str, EndpointHealth]) -> RouteStatus:
    failing = {address: found.since for address, found in health.items() if found.state == "unhealthy"}
    ready = sum(endpoint.state == "ready" and endpoint.address not in failing for endpoint in route.endpoints)
    since = f" since {clock(min(failing.values()))}" if failing else ""
    if len(route.endpoints) > 1:
        healthy = all(found.state == "healthy" for found in health.values()) and health
        state: StatusState = "failing" if not ready else "degraded"
        if ready == len(route.endpoints):
            state = "healthy" if healthy else "ready"
        probes = f", probes failing{since}" if failing else ""
        return RouteStatus(state, f"{ready} of {len(route.endpoints)} ready{probes}")
    (endpoint,) = route.endpoints
    found = health.get(endpoint.address) if endpoint.state == "ready" else None
    if found is None:
        return RouteStatus(*_STATES[endpoint.state])
    state, text = _PROBED[found.state]
    return RouteStatus(state, text + since)


_SLEEP: Final[dict[str, StatusState]] = {"waking": "waking", "failed": "failing"}
_STATES: Final[dict[str, tuple[StatusState, str]]] = {
    "ready": ("ready", "ready"),
    "waiting": ("waiting", "not healthy yet"),
    "unhealthy": ("failing", "unhealthy"),
    "draining": ("draining", "draining"),
}
_PROBED: Final[dict[str, tuple[StatusState, str]]] = {
    "healthy": ("healthy", "healthy"),
    "unhealthy": ("failing", "probe fails"),
    "pending": ("ready", "ready, not probed yet"),
}


def clock(at: float) -> str:
    """Return the time of day of a moment in seconds since 1970, as ``12:00:30``."""
    return time.strftime("%H:%M:%S", time.localtime(at))
