"""Names states for the dashboard, and chooses the symbols for them. Pure.

The kind of a state is also the class in the style sheet that gives it a shape and a color.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.text import shorten
from pilotage.dashboard.rendering import clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.api.routes import RouteEntry
    from pilotage.certificates.status import CertificateState
    from pilotage.routes.route import Endpoint, EndpointHealth
    from pilotage.table.envoys import EnvoyState, RouteState

__all__ = [
    "CERTIFICATES",
    "ENGINES",
    "NAMES",
    "Shown",
    "endpoint_state",
    "envoy_state",
    "route_state",
    "state_on_envoy",
]

NAMES: Final[Mapping[str, str]] = {
    "healthy": "healthy",
    "ready": "ready",
    "degraded": "partly ready",
    "failing": "failing",
    "waiting": "starting",
    "draining": "stopping",
    "waking": "waking",
    "asleep": "asleep",
    "stale": "stale",
    "refused": "refused",
    "excluded": "not served",
}
"""State of a route -> its name, in the order in which the filters show them."""

ENGINES: Final[Mapping[str, str]] = {"live": "healthy", "stale": "stale", "pending": "waiting"}
"""State of an engine -> kind."""

CERTIFICATES: Final[Mapping[CertificateState, str]] = {
    "valid": "healthy",
    "expired": "failing",
    "failed": "failing",
    "requested": "waking",
    "waiting": "waiting",
}
"""State of a certificate -> kind."""


class Shown(msgspec.Struct, frozen=True):
    """A state as the pages show it.

    Attributes:
        kind: a key of :data:`NAMES`, which chooses the symbol.
        words: the state in a few words.
        detail: the reason for the state, or when it began; ``""`` if there is nothing to add.

    """

    kind: str
    words: str
    detail: str = ""


def route_state(route: RouteEntry) -> Shown:
    """Return the state of a route. For a route that is not served, the state includes the reason."""
    if route.state in ("excluded", "refused"):
        return Shown(route.state, "not served", shorten(route.status.removeprefix("not served: "), 160))
    words, _, detail = route.status.partition(", ")
    first, _, since = words.partition(" since ")
    detail = ", ".join(it for it in (f"since {since}" if since else "", detail) if it)
    return Shown(route.state, shorten(first, 80), shorten(detail, 160))


def endpoint_state(endpoint: Endpoint, health: EndpointHealth | None) -> Shown:
    """Return the state of an endpoint. ``health`` is the result of the gateway's probes, if it probes the endpoint."""
    if endpoint.state != "ready":
        kind = {"waiting": "waiting", "draining": "draining"}.get(endpoint.state, "failing")
        return Shown(kind, NAMES[kind], endpoint.remark)
    if health is None:
        return Shown("ready", "ready", "the gateway does not probe it")
    kind = {"healthy": "healthy", "unhealthy": "failing"}.get(health.state, "ready")
    since = f" since {clock(health.since)}" if health.since else ""
    return Shown(kind, NAMES[kind], f"{health.remark}{since}")


def envoy_state(state: EnvoyState) -> Shown:
    """Return the state of an Envoy."""
    if not state.connected:
        return Shown("stale", "disconnected", "it has stopped answering" if state.silent else "")
    if state.silent:
        return Shown("failing", "silent", f"has not answered for {state.lag:.0f} s, so its routes may be outdated")
    if state.rejected:
        return Shown("degraded", "rejects a part", "see the problems")
    if state.waiting:
        return Shown("waking", "updating")
    return Shown("healthy", "up to date")


def state_on_envoy(state: RouteState) -> Shown:
    """Return the state of a route on one Envoy."""
    version = "" if state.version is None else f"version {state.version}"
    match state.state:
        case "accepted":
            return Shown("healthy", "accepted", version)
        case "rejected":
            return Shown("failing", "rejected", f"has {version}" if version else "")
    return Shown("waking", "not answered yet", f"has {version}" if version else "")
