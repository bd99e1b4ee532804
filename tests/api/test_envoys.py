from __future__ import annotations

from pilotage.api.envoys import EnvoyMetrics, describe_envoy
from pilotage.api.metrics import Metrics
from pilotage.table.envoys import EnvoyState
from tests.api.test_metrics import values_of


def test_connected_envoys_have_a_lag_and_disconnected_ones_only_that() -> None:
    metrics = Metrics()
    states = [
        EnvoyState(node='edge"1', connected=True, since=1.0, lag=2.5),
        EnvoyState(node="gone", connected=False, since=1.0),
    ]
    metrics.registry.register(EnvoyMetrics(lambda: states))
    assert {name: value for name, value in values_of(metrics).items() if "envoy" in name} == {
        'pilotage_envoy_connected{edge"1}': 1,
        "pilotage_envoy_connected{gone}": 0,
        'pilotage_envoy_lag_seconds{edge"1}': 2.5,
    }


def test_the_lag_is_in_seconds() -> None:
    found = describe_envoy(EnvoyState(node="edge", connected=True, since=1.0, lag=0.12345))
    assert found.lag_s == 0.123
