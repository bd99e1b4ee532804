"""What is asked about all containers is found without a search."""

from __future__ import annotations

import functools

from pilotage.testing import container
from tests.discovery.test_state import Watched
from tests.support.steps import same_cost, steps_of


def test_the_end_of_draining_is_found_without_a_search() -> None:
    costs = []
    for size in (10, 1_000):
        some = [container(f"app{number}") for number in range(size)]
        state = Watched(*some).state
        for number, it in enumerate(some):
            state.drain(it.id, 30.0 + number)
        state.drain(some[0].id, 30.0 + size)  # told to stop once more
        assert state.next_undrain == 31.0
        costs.append(steps_of(functools.partial(state.undrain, 30.0)))
        assert set(state.undrain(31.0)) == {some[1].id}
    assert same_cost(*costs)


def test_the_containers_at_an_address_are_found_without_a_search() -> None:
    costs = []
    for size in (10, 1_000):
        state = Watched(
            *(container(f"app{number}", ip=f"10.0.{number >> 8}.{number & 255}") for number in range(size))
        ).state
        costs.append(steps_of(functools.partial(state.containers_at, {"10.0.0.7"})))
        assert [it.container_name for it in state.containers_at({"10.0.0.7", "192.0.2.1"})] == ["app7"]
    assert same_cost(*costs)


def test_a_container_is_found_at_its_present_address_only() -> None:
    web = container("web", ip="10.0.0.1")
    watched = Watched(web)
    watched.engine.stop(web)
    watched.sync()
    assert watched.state.containers_at({"10.0.0.1"}) == []
    watched.engine.start(web)
    watched.sync()
    (found,) = watched.state.containers.values()
    assert watched.state.containers_at({found.private_hostname}) == [found]
    watched.engine.remove(web)
    watched.sync()
    assert watched.state.containers_at({found.private_hostname}) == []
