"""Serializes the request statistics of each route, as Prometheus metrics and as plain data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pilotage.table.traffic import RouteTraffic

__all__ = ["TrafficJson", "changed_traffic", "escape", "route_traffic", "traffic_json", "traffic_metrics"]

_COUNTERS: Final = (
    ("pilotage_route_requests_total", "counter", "Requests to the route.", "requests"),
    ("pilotage_route_errors_total", "counter", "Requests that were answered with status 500 or higher.", "errors"),
    ("pilotage_route_requests_in_progress", "gauge", "Requests that are not complete yet.", "in_progress"),
)
_DURATION: Final = "pilotage_route_duration_seconds"


def traffic_metrics(traffic: Mapping[str, RouteTraffic]) -> Iterator[bytes]:
    """Yield the statistics of all routes in Prometheus's text format, in small pieces."""
    for name, kind, text, attribute in _COUNTERS:
        yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n".encode()
        for alias, counted in traffic.items():
            yield f'{name}{{route="{escape(alias)}"}} {getattr(counted, attribute)}\n'.encode()
    yield f"# HELP {_DURATION} Durations of a random sample of the requests.\n# TYPE {_DURATION} histogram\n".encode()
    for alias, counted in traffic.items():
        if counted.measured:
            yield _histogram(escape(alias), counted).encode()


def _histogram(alias: str, counted: RouteTraffic) -> str:
    buckets = [
        f'{_DURATION}_bucket{{route="{alias}",le="{bound:g}"}} {number}\n'
        for bound, number in sorted(counted.durations.items())
        if bound != float("inf")
    ]
    buckets.append(f'{_DURATION}_bucket{{route="{alias}",le="+Inf"}} {counted.measured}\n')
    end = f'{_DURATION}_sum{{route="{alias}"}} {counted.duration_sum:g}\n'
    return "".join(buckets) + end + f'{_DURATION}_count{{route="{alias}"}} {counted.measured}\n'


def escape(label: str) -> str:
    """Escape the value of a label for Prometheus's text format."""
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class BucketJson(msgspec.Struct, frozen=True):
    """Number of requests that took at most ``le`` seconds."""

    le: float
    count: int


class DurationsJson(msgspec.Struct, frozen=True):
    """Durations of a random sample of the requests, in seconds; buckets are cumulative."""

    count: int
    sum: float
    buckets: tuple[BucketJson, ...]


class TrafficJson(msgspec.Struct, frozen=True):
    """The statistics of a route.

    Attributes:
        requests: number of requests.
        errors: requests that were answered with status 500 or higher.
        in_progress: requests that are not complete.
        duration_s: the durations of requests.

    """

    requests: int
    errors: int
    in_progress: int
    duration_s: DurationsJson


def route_traffic(counted: RouteTraffic) -> TrafficJson:
    """Return the statistics of a route as the API serves them."""
    bounds = (BucketJson(bound, number) for bound, number in sorted(counted.durations.items()) if bound != math.inf)
    durations = DurationsJson(counted.measured, round(counted.duration_sum, 6), tuple(bounds))
    return TrafficJson(counted.requests, counted.errors, counted.in_progress, durations)


def traffic_json(counted: RouteTraffic) -> dict[str, Any]:
    """Return the statistics of a route as plain data."""
    found: dict[str, Any] = msgspec.to_builtins(route_traffic(counted))
    return found


def changed_traffic(old: Mapping[str, RouteTraffic], new: Mapping[str, RouteTraffic]) -> dict[str, Any]:
    """Return name -> statistics that differ from ``old``, as plain data; ``None`` for a route that is gone."""
    found: dict[str, Any] = {name: traffic_json(it) for name, it in new.items() if old.get(name) != it}
    return found | dict.fromkeys(old.keys() - new.keys())
