"""Builds the part of a bootstrap configuration that keeps Envoy alive under load: limits, and actions near them.

Pure. The caller passes the machine's resources, because Envoy may run on another machine.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["Limits", "limits_for", "overload_manager"]

_EXTENSIONS: Final = "type.googleapis.com/envoy.extensions.resource_monitors."
_CONNECTIONS: Final = "envoy.resource_monitors.global_downstream_max_connections"
_HEAP: Final = "envoy.resource_monitors.fixed_heap"
_INJECTED: Final = "injected_resource.v3.InjectedResourceConfig"
_IN_USE: Final = ("connections", "descriptors")
_CLIENTS, _DESCRIPTORS = (f"pilotage.{name}" for name in _IN_USE)

_MOST_CONNECTIONS: Final = 50_000
_FEWEST_CONNECTIONS: Final = 16
_FEWEST_OF_CLIENT: Final = 8  # a browser opens six to one host
_CONNECTION_BYTES: Final = 64 * 1024
"""Memory that a client's busy connection may take, with its buffers in both directions."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The resource limits of one Envoy.

    Attributes:
        connections: simultaneous client connections to all listeners together.
        memory: heap size in bytes at which Envoy refuses requests.
        per_target: simultaneous connections to one target.
        per_client: simultaneous connections of one client; 0 for no limit.
        per_udp_route: simultaneous clients of one udp route; each needs a socket.
        pressure: path of a folder with the files ``connections`` and ``descriptors``. Each contains the share that is
            in use, from 0 to 1. ``""`` if there are no such files.

    """

    connections: int = _MOST_CONNECTIONS
    memory: int = 2 << 30
    per_target: int = _MOST_CONNECTIONS // 4
    per_client: int = _MOST_CONNECTIONS // 8
    per_udp_route: int = _MOST_CONNECTIONS // 16
    pressure: str = ""


def limits_for(
    descriptors: int,
    memory: int,
    *,
    workers: int,
    connections: int = 0,
    per_client: int | None = None,
    pressure: str = "",
) -> Limits:
    """Return the limits of an Envoy on a machine.

    Clients get half of the descriptors, because each of their requests also needs a connection to a target. One target
    can take at most a quarter of the other half, so it cannot keep Envoy from connecting to other targets. One client
    gets an eighth of the connections, so it cannot keep other clients out. Even with one request on each connection, it
    cannot use up a target's limit.

    Args:
        descriptors: how many files and sockets Envoy may have open.
        memory: bytes available to all processes of Envoy's container or machine.
        workers: Envoy's number of worker threads.
        connections: the operator's own limit; 0 for none. The result exceeds neither this limit nor the number that the
            descriptors allow.
        per_client: the operator's own limit for one client; 0 for no limit. The default is an eighth of the
            connections.
        pressure: see :class:`Limits`.

    """
    heap = memory * 3 // 4
    reserve = min(descriptors // 2, 64 + 16 * workers)
    possible = max(_FEWEST_CONNECTIONS, (descriptors - reserve) // 2)
    wanted = connections or min(_MOST_CONNECTIONS, max(_FEWEST_CONNECTIONS, heap // _CONNECTION_BYTES))
    allowed = min(possible, wanted)
    return Limits(
        connections=allowed,
        memory=heap,
        per_target=max(_FEWEST_CONNECTIONS, possible // 4),
        per_client=max(_FEWEST_OF_CLIENT, allowed // 8) if per_client is None else per_client,
        per_udp_route=max(_FEWEST_CONNECTIONS, possible // 16),
        pressure=pressure,
    )


def overload_manager(limits: Limits) -> dict[str, Any]:
    """Return the overload manager's configuration.

    Near the limits, idle connections are closed sooner and sooner, so that idle clients make room for others. Closer to
    the limits, connections are closed after each response, and finally requests are refused with 503.
    """
    monitors = [
        _monitor(
            _CONNECTIONS,
            "downstream_connections.v3.DownstreamConnectionsConfig",
            max_active_downstream_connections=limits.connections,
        ),
        _monitor(_HEAP, "fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=limits.memory),
    ]
    points = []
    reduce, close, refuse = [_scaled(_HEAP, 0.85, 0.95)], [_above(_HEAP, 0.92)], [_above(_HEAP, 0.98)]
    if limits.pressure:
        monitors += [_monitor(f"pilotage.{name}", _INJECTED, filename=f"{limits.pressure}/{name}") for name in _IN_USE]
        reduce += [_scaled(_CLIENTS, 0.75, 0.95), _scaled(_DESCRIPTORS, 0.6, 0.8)]
        close.append(_above(_DESCRIPTORS, 0.8))
        refuse.append(_above(_DESCRIPTORS, 0.93))
        points = [{"name": name, "triggers": [_scaled(_DESCRIPTORS, 0.75, 0.9)]} for name in _NEW_CONNECTIONS]
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": monitors,
        "actions": [
            {"name": "envoy.overload_actions.shrink_heap", "triggers": [_above(_HEAP, 0.9)]},
            {"name": "envoy.overload_actions.reduce_timeouts", "triggers": reduce, "typed_config": _TIMERS},
            {"name": "envoy.overload_actions.disable_http_keepalive", "triggers": close},
            {"name": "envoy.overload_actions.stop_accepting_requests", "triggers": refuse},
        ],
        "loadshed_points": points,
    }


_NEW_CONNECTIONS: Final = (
    "envoy.load_shed_points.connection_pool_new_connection",
    "envoy.load_shed_points.tcp_proxy_upstream_connect",
)
"""Points at which Envoy can refuse to connect to a target. It would crash if no descriptor were left for that."""

_TIMERS: Final = {
    "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
    "timer_scale_factors": [
        {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "1s"},
        {"timer": "TRANSPORT_SOCKET_CONNECT", "min_timeout": "2s"},
        {"timer": "HTTP_DOWNSTREAM_STREAM_IDLE", "min_timeout": "6s"},
        {"timer": "HTTP_DOWNSTREAM_STREAM_FLUSH", "min_timeout": "10s"},
    ],
}
"""The minimum to which each time limit shrinks. The limit for idle streams also applies to request headers."""


def _monitor(name: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": _EXTENSIONS + kind, **fields}}


def _above(monitor: str, value: float) -> dict[str, Any]:
    return {"name": monitor, "threshold": {"value": value}}


def _scaled(monitor: str, start: float, end: float) -> dict[str, Any]:
    return {"name": monitor, "scaled": {"scaling_threshold": start, "saturation_threshold": end}}
