"""Reports the connected Envoys: as plain data for ``/v1/envoys``, and as Prometheus metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric

    from pilotage.table.envoys import EnvoyState

__all__ = ["EnvoyJson", "EnvoyMetrics", "describe_envoy"]


class EnvoyMetrics(Collector):
    """The metrics of each Envoy that is connected or was within the last hour, read at scrape time.

    Args:
        states: returns the states of these Envoys. The function must limit their number, because an Envoy can use any
            node ID.

    """

    def __init__(self, states: Callable[[], Iterable[EnvoyState]]) -> None:
        self._states = states

    def describe(self) -> list[Metric]:
        """Return no metrics. Otherwise, prometheus-client would call ``collect`` before there is any data."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield whether each Envoy is connected, and how far each connected Envoy lags behind."""
        states = list(self._states())
        connected = GaugeMetricFamily(
            "pilotage_envoy_connected", "1 while the Envoy is connected, 0 for an hour afterwards.", labels=["node"]
        )
        lag = GaugeMetricFamily(
            "pilotage_envoy_lag_seconds",
            "Time since the oldest unanswered change was sent to the Envoy.",
            labels=["node"],
        )
        for state in states:
            connected.add_metric([state.node], state.connected)
            if state.connected:
                lag.add_metric([state.node], state.lag)
        yield connected
        yield lag


class EnvoyJson(msgspec.Struct, frozen=True, kw_only=True):
    """An Envoy that is connected or was within the last hour.

    Attributes:
        node: the Envoy's node ID. Envoys with the same ID share one entry, with the worst value of each property.
        connected: whether the Envoy is connected.
        since: Unix time in seconds when the Envoy connected or disconnected.
        silent: whether the Envoy has left a change unanswered for too long.
        version: newest version of the table for which the Envoy has accepted or rejected every resource; 0 if none.
        waiting: number of resources that the Envoy has neither accepted nor rejected yet.
        rejected: number of resources that the Envoy rejects.
        lag_s: seconds since the oldest unanswered change was sent to the Envoy.

    """

    node: str
    connected: bool
    since: float
    silent: bool
    version: int
    waiting: int
    rejected: int
    lag_s: float


def describe_envoy(state: EnvoyState) -> EnvoyJson:
    """Return the state of an Envoy as the API serves it."""
    found = msgspec.structs.asdict(state)
    lag = found.pop("lag")
    return EnvoyJson(**found, lag_s=round(lag, 3))
