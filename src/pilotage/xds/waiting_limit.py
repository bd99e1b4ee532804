"""Builds the filter that limits how many requests wait for one backend in one Envoy. Pure.

Envoy has no circuit breaker for a cluster that it does not have. So while a backend has no cluster, it has a bucket of
tokens: each request takes a token before it begins to wait, and tokens are never returned. The bucket is new whenever
the backend's route changes, so it lasts for one sleep, or for a quarter of the hold time. The number of requests that
wait at the same time never exceeds the number of tokens; a client that gives up and asks again takes another one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.type.v3 import http_status_pb2, percent_pb2, token_bucket_pb2

from pilotage.xds.resources import number, packed, seconds

__all__ = ["WAITING_FILTER", "idle_limit", "waiting_limit"]

WAITING_FILTER: Final = "pilotage.waiting"
_FOR_EVER: Final = 1_000_000_000.0


def idle_limit() -> Any:
    """Return the filter for routes whose requests do not wait."""
    return local_rate_limit_pb2.LocalRateLimit(stat_prefix="waiting")


@lru_cache(maxsize=16)
def waiting_limit(most: int) -> Any:
    """Return the configuration of a route whose requests wait.

    Args:
        most: maximum number of requests that wait in one Envoy; further ones get status 503 at once.

    """
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
