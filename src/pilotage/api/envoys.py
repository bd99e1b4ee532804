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
    """The metrics of the connected Envoys, read at scrape time.

    Args:
        states: returns their states. The number of states is limited, because Envoys choose their own node IDs.

    """

    def __init__(self, states: Callable[[], Iterable[EnvoyState]]) -> None:
        self._states = states

    def describe(self) -> list[Metric]:
        """Return nothing: prometheus-client would otherwise collect at registration, before there is any data."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
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
