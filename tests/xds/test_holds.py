"""Which clusters requests wait for while a backend has no endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from pilotage.routes.gate import Gate
from pilotage.routes.route import Endpoint
from pilotage.xds.backend import route_backend
from pilotage.xds.epochs import Epochs
from pilotage.xds.holds import Holds
from tests.support.gateway import route

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.xds.backend import Backend
    from pilotage.xds.cluster_names import ClusterNames

KEY = "route/app"


def backend(*ports: int, hold: float = 8.0) -> Backend:
    return route_backend(route("app", *ports, hold=hold))


def names(holds: Holds, *ports: int) -> ClusterNames | None:
    return holds.apply(backend(*ports)).names


def closed() -> Holds:
    holds = Holds(Epochs(7))
    found = names(holds)
    assert found is not None
    assert (found.current, found.others, found.absent) == ("hold/7/route/app", (KEY,), True)
    return holds


def test_a_backend_with_an_endpoint_has_one_cluster() -> None:
    holds = Holds(Epochs(7))
    assert names(holds, 80) is None
    assert not holds.opening


def test_a_backend_that_has_endpoints_again_stays_closed_until_it_is_opened() -> None:
    holds = closed()
    found = names(holds, 80)
    assert found is not None
    assert found.absent
    assert holds.opening == {KEY}
    assert holds.open(KEY)
    assert not holds.open(KEY)
    found = names(holds, 80)
    assert found is not None
    assert (found.current, found.others, found.absent) == ("hold/7/route/app", (KEY,), False)
    assert not holds.opening


def test_the_next_outage_has_a_new_cluster_and_keeps_those_in_which_requests_may_be_retried() -> None:
    """Requests outlast several quick restarts, as of a container that crashes at its start."""
    holds = closed()
    holds.open(KEY)
    found = names(holds)
    assert found is not None
    assert (found.current, found.others, found.absent) == ("hold/8/route/app", (KEY, "hold/7/route/app"), True)
    for _ in range(20):
        holds.open(KEY)
        found = names(holds)
    assert found is not None
    assert (found.current, found.others[-1], len(found.others)) == ("hold/28/route/app", "hold/27/route/app", 8)


def test_requests_are_led_to_a_new_cluster_and_the_last_is_given_up_in_time() -> None:
    holds = closed()
    assert holds.rotate(KEY, "hold/7/route/app")
    assert not holds.rotate(KEY, "hold/7/route/app")
    found = names(holds)
    assert found is not None
    assert found.current == "hold/8/route/app"
    assert all(holds.waits_for(KEY, name) for name in ("hold/7/route/app", "hold/8/route/app"))
    holds.expire(KEY, "hold/7/route/app")
    assert holds.ended == ["hold/7/route/app"]
    assert not holds.waits_for(KEY, "hold/7/route/app")


def test_all_clusters_that_requests_wait_for_come_when_it_opens_and_go_when_it_is_trimmed() -> None:
    holds = closed()
    holds.rotate(KEY, "hold/7/route/app")
    holds.open(KEY)
    found = names(holds, 80)
    assert found is not None
    assert (found.current, found.others) == ("hold/8/route/app", (KEY, "hold/7/route/app"))
    holds.expire(KEY, "hold/7/route/app")  # too late
    assert holds.ended == []
    assert not holds.trim(KEY, "hold/7/route/app")  # it has closed since
    assert holds.trim(KEY, "hold/8/route/app")
    assert not holds.trim(KEY, "hold/8/route/app")
    found = names(holds, 80)
    assert found is not None
    assert found.others == ()


def test_a_backend_that_goes_keeps_its_requests_for_as_long_as_they_wait() -> None:
    holds = closed()
    holds.leave(KEY)
    assert holds.leaving == {KEY: 10.0}
    names(holds)  # it is back
    assert holds.leaving == {}
    holds.leave(KEY)
    holds.forget(KEY)
    assert holds.ended == ["hold/7/route/app"]
    assert not holds.waits_for(KEY, "hold/7/route/app")


def test_a_backend_that_no_longer_holds_requests_rejects_those_that_wait() -> None:
    holds = closed()
    assert holds.apply(backend(80, hold=0.0)).names is None
    assert holds.ended == ["hold/7/route/app"]


def test_requests_that_wait_reach_a_successor_whose_containers_sleep() -> None:
    holds = closed()
    sleeping = route_backend(route("app", 80, hold=8.0), gate=Gate(3, "open"))
    found = holds.apply(sleeping).names
    assert found is not None
    assert found.others == (KEY, "hold/7/route/app")
    assert holds.leaving == {KEY: 30.0}
    holds.forget(KEY)
    assert holds.ended == []
    assert holds.apply(sleeping).names == sleeping.names


def test_clusters_from_before_a_restart_are_taken_over() -> None:
    holds = Holds(Epochs(20))
    holds.adopt(KEY, ("hold/5/route/app", "hold/6/route/app"))
    found = names(holds, 80)
    assert found is not None
    assert (found.current, found.absent) == ("hold/6/route/app", True)
    holds.adopt(KEY, ("hold/4/route/app", "hold/6/route/app"))  # another Envoy
    assert all(holds.waits_for(KEY, f"hold/{epoch}/route/app") for epoch in (4, 5, 6))


def stopping(
    state: Literal["draining", "ready"] = "draining", *, hold: float = 0.0, gate: Gate | None = None
) -> Backend:
    endpoint = Endpoint("127.0.0.1", 80, state=state)
    return route_backend(route("app", endpoints=(endpoint,), hold=hold), restarting=True, gate=gate)


def test_requests_wait_once_a_container_that_was_told_to_stop_refuses_connections() -> None:
    """Servers close their ports before the engine reports that the container has ended."""
    holds = Holds(Epochs(7))
    assert not holds.set_refusing(KEY, refusing=True)  # nothing stops
    backend = holds.apply(stopping())
    assert (backend.is_closed, holds.stopping) == (False, {KEY: backend.members})
    assert holds.set_refusing(KEY, refusing=True)
    assert not holds.set_refusing(KEY, refusing=True)
    closed = holds.apply(stopping())
    assert (closed.is_closed, closed.reachable) == (True, ())
    assert holds.stopping == {KEY: backend.members}
    assert not holds.opening
    assert holds.set_refusing(KEY, refusing=False)  # it has opened its port again
    holds.apply(stopping())
    assert holds.opening == {KEY}


@pytest.mark.parametrize(
    "next_state",
    [
        pytest.param(lambda: stopping("ready"), id="ready again"),
        pytest.param(lambda: backend(80, hold=0.0), id="no longer expected to restart"),
        pytest.param(lambda: stopping(gate=Gate(3, "open")), id="asleep"),
    ],
)
def test_a_container_that_is_no_longer_stopping_is_not_watched(next_state: Callable[[], Backend]) -> None:
    holds = Holds(Epochs(7))
    holds.apply(stopping())
    holds.set_refusing(KEY, refusing=True)
    holds.apply(next_state())
    assert not holds.stopping
    holds.apply(stopping())
    assert holds.set_refusing(KEY, refusing=True), "the last answer counted although the container was started again"


def test_a_removed_backend_is_not_watched() -> None:
    for refusing in (False, True):
        holds = Holds(Epochs(7))
        holds.apply(stopping())
        holds.set_refusing(KEY, refusing=refusing)
        holds.apply(stopping())
        holds.leave(KEY)
        assert not holds.stopping


def test_a_patient_route_is_not_watched_because_it_sends_nothing_to_a_stopping_container() -> None:
    holds = Holds(Epochs(7))
    assert holds.apply(stopping(hold=8.0)).is_closed
    assert not holds.stopping
