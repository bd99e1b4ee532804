from __future__ import annotations

from typing import Any

import pytest

from pilotage.dashboard.states import NAMES, Shown, endpoint_state, envoy_state, state_on_envoy
from pilotage.routes.route import Endpoint, EndpointHealth
from pilotage.table.envoys import EnvoyState, RouteState


@pytest.mark.parametrize(
    ("endpoint", "health", "expected"),
    [
        ("ready", None, Shown("ready", "ready", "the gateway does not probe it")),
        ("ready", EndpointHealth("healthy"), Shown("healthy", "healthy", "passes the gateway's probe")),
        ("ready", EndpointHealth("unhealthy"), Shown("failing", "failing", "fails the gateway's probe")),
        ("ready", EndpointHealth("pending"), Shown("ready", "ready", "has not been probed yet")),
        ("waiting", None, Shown("waiting", "starting", "its health check has not passed yet")),
        ("unhealthy", None, Shown("failing", "failing", "its health check fails")),
        ("draining", None, Shown("draining", "stopping", "it is about to stop")),
    ],
)
def test_endpoints_have_a_state_in_words(endpoint: str, health: EndpointHealth | None, expected: Shown) -> None:
    assert endpoint_state(Endpoint("10.0.0.1", 80, state=endpoint), health) == expected  # type: ignore[arg-type]


def test_the_worst_that_is_known_of_an_envoy_is_shown() -> None:
    def words(**changes: Any) -> str:
        return envoy_state(EnvoyState(**{"node": "edge", "connected": True, "since": 1.0, **changes})).words

    assert words() == "up to date"
    assert words(waiting=1) == "updating"
    assert words(waiting=1, rejected=1) == "rejects a part"
    assert words(rejected=1, silent=True) == "silent"
    assert words(silent=True, connected=False) == "disconnected"


def test_a_route_may_be_newer_than_what_an_envoy_has() -> None:
    assert state_on_envoy(RouteState("accepted", 4)) == Shown("healthy", "accepted", "version 4")
    assert state_on_envoy(RouteState("waiting", 3)) == Shown("waking", "not answered yet", "has version 3")
    assert state_on_envoy(RouteState("rejected")) == Shown("failing", "rejected")


def test_each_state_has_a_shape_of_its_own() -> None:
    from pilotage.dashboard.rendering import Renderer

    style = Renderer().assets["dashboard.css"].body.decode()
    assert [name for name in NAMES if name != "healthy" and f".state.{name}::before" not in style] == []
