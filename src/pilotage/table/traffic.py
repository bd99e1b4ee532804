"""Defines the figures about the requests of one route. Pure."""

from __future__ import annotations

import msgspec

__all__ = ["RouteTraffic"]


class RouteTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """Figures about the requests of a route or pool, or the connections of a tcp route, since Envoy started.

    Attributes:
        requests: number of requests.
        errors: of these, the ones that clients got a status from 500 up for, whoever it came from.
        in_progress: requests that have been sent to the service and are not complete.
        measured: number of requests whose durations are known, a random sample.
        duration_sum: the sum of these durations, in seconds.
        durations: upper bound in seconds -> number of measured requests that took no longer; empty if none was.

    """

    requests: int = 0
    errors: int = 0
    in_progress: int = 0
    measured: int = 0
    duration_sum: float = 0.0
    durations: dict[float, int] = {}
