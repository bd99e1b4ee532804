"""Reports the connected Envoys: as plain data for ``/v1/envoys``, and as Prometheus metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric

    from pilotage.table.envoys import EnvoyState

__all__ = ["EnvoyMetrics", "envoy_json"]


class EnvoyMetrics(Collector):
    """The metrics of each Envoy that is connected or was within the last hour, read at scrape time.

    Args:
        states: returns the states of these Envoys. The function must limit how many, because an Envoy can use any node
            ID.

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


def envoy_json(state: EnvoyState) -> dict[str, Any]:
    """Return the state of an Envoy as plain data."""
    found: dict[str, Any] = msgspec.structs.asdict(state)
    found["lag_s"] = round(found.pop("lag"), 3)
    return found
