"""Builds retry policies. Requests that were not sent are always retried; others only if that is safe. Pure."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2

from pilotage.xds.options import RETRY_PAUSES
from pilotage.xds.resources import number, packed, seconds

if TYPE_CHECKING:
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions

__all__ = ["repeats", "retries", "shared_retries"]

_RETRIES: Final = "connect-failure,refused-stream,reset-before-request"
_ALSO_BROKEN: Final = ",reset"
_SLOWEST_ANSWER: Final = 60.0
_UNREACHED: Final = 502
_HELD_WAITS: Final = (0.05, 0.2)


def shared_retries(options: GatewayOptions, *, safe: bool) -> Any:
    """Return the retry policy of the shared clusters, which applies to all plain backends.

    Envoy cannot tell a timeout from a broken connection. Requests that may be retried after a broken connection
    therefore get no timeout; otherwise Envoy would retry slow requests too, and send each one several times to a target
    that is merely busy.

    Args:
        options: the gateway's settings.
        safe: whether the requests are safe to repeat.

    """
    return _policy(options.retries, RETRY_PAUSES, 0.0 if safe else _SLOWEST_ANSWER, safe=safe)


def repeats(backend: Backend) -> bool:
    """Return whether safe requests are retried after a broken connection: only if their route has no timeout."""
    return not backend.route.settings.response_header_timeout


def retries(backend: Backend, options: GatewayOptions, *, safe: bool = False) -> Any:
    """Return the retry policy of one backend.

    Args:
        backend: the backend.
        options: the gateway's settings.
        safe: whether the requests are safe to repeat.

    """
    settings = backend.route.settings
    hold = backend.hold
    usual = options.tries(static=backend.route.is_static)
    # Envoy picks each back-off at random between 0 and its limit, so on average it takes half of the limit.
    tries, waits = (math.ceil(hold / (_HELD_WAITS[1] / 2)), _HELD_WAITS) if hold else (usual, RETRY_PAUSES)
    safe = safe and repeats(backend)
    slowest = settings.response_header_timeout or (0.0 if hold or safe else _SLOWEST_ANSWER)
    # Prefer another endpoint even if the cluster has only one: a second one reaches the cluster before the route.
    unreached = safe and backend.proxy is not None
    return _policy(tries, waits, slowest, safe=safe, another=backend.backing == "own", unreached=unreached)


_ANOTHER: Final = route_components_pb2.RetryPolicy.RetryHostPredicate(
    name="envoy.retry_host_predicates.previous_hosts", typed_config=packed(previous_hosts_pb2.PreviousHostsPredicate())
)


@lru_cache(maxsize=256)  # nearly all backends share one
def _policy(
    tries: int,
    waits: tuple[float, float],
    slowest: float,
    *,
    safe: bool,
    another: bool = False,
    unreached: bool = False,
) -> Any:
    kinds = route_components_pb2.RetryPolicy
    least, most = waits
    policy = kinds(
        retry_on=_RETRIES + (_ALSO_BROKEN if safe else ""),
        num_retries=number(tries),
        retry_back_off=kinds.RetryBackOff(base_interval=seconds(least), max_interval=seconds(most)),
    )
    if unreached:  # an agent answers this if it does not reach the target, or has lost it
        policy.retry_on += ",retriable-status-codes"
        policy.retriable_status_codes.append(_UNREACHED)
    if slowest:
        policy.per_try_timeout.CopyFrom(seconds(slowest))
    if another:
        policy.retry_host_predicate.append(_ANOTHER)
        policy.host_selection_retry_max_attempts = 5
    return policy
