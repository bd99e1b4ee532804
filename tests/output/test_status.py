from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from pilotage import Endpoint
from pilotage.output.status import describe_route
from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.route import EndpointHealth
from pilotage.table.wakefulness import Wakefulness
from tests.support.summaries import route

if TYPE_CHECKING:
    from pilotage.routes.route import EndpointState, HealthState

ONE, TWO = Endpoint("10.0.0.5", 80, "a", "a"), Endpoint("10.0.0.6", 80, "b", "b")


def probed(*states: HealthState) -> dict[str, EndpointHealth]:
    return {it.address: EndpointHealth(state, 1.0) for it, state in zip((ONE, TWO), states, strict=False)}


@pytest.mark.parametrize(
    ("endpoints", "health", "state"),
    [
        ([ONE], {}, "ready"),
        ([ONE], probed("pending"), "ready"),
        ([ONE], probed("healthy"), "healthy"),
        ([ONE], probed("unhealthy"), "failing"),
        ([ONE, TWO], {}, "ready"),
        ([ONE, TWO], probed("healthy", "healthy"), "healthy"),
        ([ONE, TWO], probed("healthy", "unhealthy"), "degraded"),
        ([ONE, TWO], probed("unhealthy", "unhealthy"), "failing"),
        ([replace(ONE, state="draining"), TWO], {}, "degraded"),
    ],
)
def test_the_state_is_that_of_the_endpoints(
    endpoints: list[Endpoint], health: dict[str, EndpointHealth], state: str
) -> None:
    found = describe_route(replace(route(), endpoints=tuple(endpoints)), health)
    assert (found.state, found.is_error) == (state, False)


@pytest.mark.parametrize(("of", "state"), [("waiting", "waiting"), ("unhealthy", "failing"), ("draining", "draining")])
def test_the_engine_knows_the_state_of_a_container(of: EndpointState, state: str) -> None:
    assert describe_route(replace(route(), endpoints=(replace(ONE, state=of),))).state == state


@pytest.mark.parametrize(
    ("of", "state", "is_error"),
    [
        ("asleep", "asleep", False),
        ("waking", "waking", False),
        ("stopping", "asleep", False),
        ("failed", "failing", True),
        ("ready", "ready", False),
    ],
)
def test_containers_that_sleep_have_states_of_their_own(of: Any, state: str, is_error: bool) -> None:
    found = describe_route(route(), wakefulness=Wakefulness(of, 1.0))
    assert (found.state, found.is_error) == (state, is_error)


def test_a_route_that_is_not_served_says_why() -> None:
    manual = replace(route(), excluded=True, excluded_reason=ExclusionReason.MANUAL)
    assert (describe_route(manual).state, describe_route(manual).text) == ("excluded", "Manual exclusion")
    refused = describe_route(route(), refused=("rules",), stale_since=5.0)
    assert (refused.state, refused.text, refused.is_error) == ("refused", "not served: rules", True)


def test_the_route_of_an_unreachable_engine_is_stale_and_keeps_its_state_in_words() -> None:
    found = describe_route(route(), stale_since=5.0)
    assert found.state == "stale"
    assert found.text.startswith("ready, stale since ")
