"""Defines the statistics about the requests for one route. Pure."""

from __future__ import annotations

import msgspec

__all__ = ["RouteTraffic"]


class RouteTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics since Envoy's start about the requests for a route or pool, or about the connections of a tcp route.

    Attributes:
        requests: number of requests.
        errors: number of requests for which clients got a status of 500 or above, from Envoy or from the service.
        in_progress: number of requests that have been sent to the service and are not complete.
        measured: number of requests whose durations are known. They are a random sample.
        duration_sum: the sum of these durations, in seconds.
        durations: upper bound in seconds -> number of measured requests that took at most this long; empty if no
            request was measured.

    """

    requests: int = 0
    errors: int = 0
    in_progress: int = 0
    measured: int = 0
    duration_sum: float = 0.0
    durations: dict[float, int] = {}
