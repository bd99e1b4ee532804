"""Builds the filters that limit how many requests and connections wait for backends in one Envoy. Pure.

Envoy has no circuit breaker for a cluster that it does not have. While a backend has no cluster, it therefore has a
bucket of tokens. Each request takes a token before it begins to wait, and tokens are never returned. Whenever the
backend's route changes, it gets a new bucket. A bucket lasts for one sleep, or for a quarter of the hold time. The
number of waiting requests never exceeds the number of tokens. A client that gives up and asks again takes another
token.

A second filter counts the requests that wait for any backend. Envoy has a separate counter for each HTTP connection
manager, and there is one of these for each listener and each group of server names, and another for trusted proxies.
Envoy cannot count across them. A request whose body Envoy has begun to buffer counts until its response has ended.
Other requests count only while they wait.

Waiting connections of tcp routes are counted exactly for each route: a listener counts the connections that it accepted
since its filter last changed. The filter changes when connections begin to wait and when they pass again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.adaptive_concurrency.v3 import adaptive_concurrency_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.extensions.filters.network.connection_limit.v3 import connection_limit_pb2
from envoy.type.v3 import http_status_pb2, percent_pb2, token_bucket_pb2
from google.protobuf import any_pb2, wrappers_pb2

from pilotage.xds.resources import OFF, ON, number, packed, seconds

__all__ = ["AS_CONFIGURED", "connection_limit", "waiting_filters", "waiting_settings"]

_EACH: Final = "pilotage.waiting"
_ALL: Final = "pilotage.all_waiting"
_FOR_EVER: Final = 1_000_000_000.0

AS_CONFIGURED: Final = packed(route_components_pb2.FilterConfig(config=any_pb2.Any()))
"""Turns a filter on for a route, with the configuration that it has in the listener."""


def waiting_filters(most: int) -> dict[str, Any]:
    """Return name -> filter. The filters are off except on routes with :func:`waiting_settings`.

    Args:
        most: maximum number of requests that wait for all backends together; further requests get 503 at once.

    """
    return {_ALL: _total_limit(most), _EACH: local_rate_limit_pb2.LocalRateLimit(stat_prefix="waiting")}


def waiting_settings(most: int) -> dict[str, Any]:
    """Return the settings of a route whose requests wait.

    Args:
        most: maximum number of requests that wait in one Envoy; further requests get 503 at once.

    """
    return {_ALL: AS_CONFIGURED, _EACH: _limit(most)}


def _total_limit(most: int) -> Any:
    """Return the filter that limits the waiting requests of all routes together.

    Envoy adapts this filter's limit to response times within bounds. Here the bounds are equal, so the limit is fixed.
    """
    kinds = adaptive_concurrency_pb2.GradientControllerConfig
    rare = seconds(3600.0)
    controller = kinds(
        concurrency_limit_params=kinds.ConcurrencyLimitCalculationParams(
            max_concurrency_limit=number(most), concurrency_update_interval=rare
        ),
        min_rtt_calc_params=kinds.MinimumRTTCalculationParams(fixed_value=rare, min_concurrency=number(most)),
    )
    return adaptive_concurrency_pb2.AdaptiveConcurrency(gradient_controller_config=controller)


@lru_cache(maxsize=16)
def _limit(most: int) -> Any:
    always = base_pb2.RuntimeFractionalPercent(
        default_value=percent_pb2.FractionalPercent(numerator=100, denominator=percent_pb2.FractionalPercent.HUNDRED)
    )
    bucket = token_bucket_pb2.TokenBucket(max_tokens=most, tokens_per_fill=number(1), fill_interval=seconds(_FOR_EVER))
    return packed(
        local_rate_limit_pb2.LocalRateLimit(
            stat_prefix="waiting",
            status=http_status_pb2.HttpStatus(code=http_status_pb2.ServiceUnavailable),
            token_bucket=bucket,
            filter_enabled=always,
            filter_enforced=always,
        )
    )


def connection_limit(most: int, *, waits: bool) -> Any:
    """Return the filter that limits how many connections of a tcp route wait.

    Args:
        most: maximum number of connections that wait; further connections are closed at once.
        waits: whether connections wait now; otherwise their number has no limit.

    """
    enabled = base_pb2.RuntimeFeatureFlag(default_value=ON if waits else OFF, runtime_key="pilotage.waiting")
    return connection_limit_pb2.ConnectionLimit(
        stat_prefix="waiting", max_connections=wrappers_pb2.UInt64Value(value=most), runtime_enabled=enabled
    )
