"""Builds the limit of requests per client (middleware ``rate_limit``). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.common.ratelimit.v3 import ratelimit_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.type.v3 import percent_pb2, token_bucket_pb2

from pilotage.xds.real_ip import real_rate_action
from pilotage.xds.resources import OFF, number, seconds

if TYPE_CHECKING:
    from pilotage.xds.middlewares import Rate

__all__ = ["no_limit", "rate_limit"]

_REMEMBERED_CLIENTS: Final = 10_000


def rate_limit(rate: Rate, *, real_ip: bool = False) -> Any:
    """Return a limit of requests per client address. Envoy's table of addresses drops the oldest ones when it is full.

    Args:
        rate: the limit.
        real_ip: whether the route has its own way of finding client addresses.

    """
    bucket = token_bucket_pb2.TokenBucket(
        max_tokens=rate.burst, tokens_per_fill=number(rate.average), fill_interval=seconds(rate.period)
    )
    everybody = _endless(rate.period)
    always = base_pb2.RuntimeFractionalPercent(
        default_value=percent_pb2.FractionalPercent(numerator=100, denominator=percent_pb2.FractionalPercent.HUNDRED)
    )
    connected = route_components_pb2.RateLimit.Action(
        remote_address=route_components_pb2.RateLimit.Action.RemoteAddress()
    )
    by_address = real_rate_action() if real_ip else connected
    entry = ratelimit_pb2.RateLimitDescriptor.Entry(key="remote_address")
    return local_rate_limit_pb2.LocalRateLimit(
        stat_prefix="rate",
        token_bucket=everybody,
        filter_enabled=always,
        filter_enforced=always,
        rate_limits=[route_components_pb2.RateLimit(actions=[by_address])],
        descriptors=[ratelimit_pb2.LocalRateLimitDescriptor(entries=[entry], token_bucket=bucket)],
        always_consume_default_token_bucket=OFF,
        max_dynamic_descriptors=number(_REMEMBERED_CLIENTS),
    )


def no_limit() -> Any:
    """Return settings without a limit, for a filter that already runs for the request."""
    return local_rate_limit_pb2.LocalRateLimit(stat_prefix="rate", token_bucket=_endless(1.0))


def _endless(period: float) -> Any:
    most = 2**32 - 1
    return token_bucket_pb2.TokenBucket(max_tokens=most, tokens_per_fill=number(most), fill_interval=seconds(period))
