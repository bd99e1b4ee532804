"""One Envoy that is silent, refuses or has a strange name affects no other, and is reported."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from pilotage.routes.port_syntax import PortPair
from pilotage.table.envoys import RouteState
from pilotage.xds.envoys import MOST_NODES, Envoys
from pilotage.xds.resources import CLUSTER, LISTENER, SCOPE, Key, Resource
from pilotage.xds.session import Session
from tests.support.gateway import becomes, route, target
from tests.support.session import cluster
from tests.support.waiting import pass_time, until

if TYPE_CHECKING:
    from pilotage.core.problems import Problem
    from tests.xds.conftest import Envoy


class Fleet:
    """Envoys at the protocol's level."""

    def __init__(self) -> None:
        self.resources: dict[Key, Resource] = {}
        self.envoys = Envoys(lambda: self.resources)
        self.silent: list[str] = []
        self.envoys.on_silent = lambda problem: self.silent.append(problem.message)

    def connect(
        self, node: str, *, types: tuple[str, ...] = (CLUSTER, LISTENER, SCOPE), local: bool = False
    ) -> Session:
        session = Session(self.resources)
        self.envoys.join(session, local=local)
        for type_url in types:
            request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url)
            request.node.id = node
            session.handle_request(request)
            self.envoys.heard(session)
        self.send(session)
        return session

    def send(self, session: Session, *, answers: bool = True) -> None:
        session.now = asyncio.get_running_loop().time()
        while messages := session.next_responses():
            for message in messages:
                if answers:
                    answer = discovery_pb2.DeltaDiscoveryRequest(
                        type_url=message.type_url, response_nonce=message.nonce
                    )
                    session.handle_request(answer)
                    self.envoys.heard(session)
            if not answers:
                break
        self.envoys.progress(session)

    def publish(self, version: int, *items: Resource) -> None:
        self.resources |= {item.key: item for item in items}
        self.envoys.published([item.key for item in items], version)
        for session in self.envoys.sessions:
            session.mark_changed([item.key for item in items])


@pytest.mark.looptime
async def test_an_envoy_is_reported_after_ten_seconds_without_an_answer_and_no_longer_once_it_answers() -> None:
    fleet = Fleet()
    session = fleet.connect("edge")
    fleet.publish(1, cluster("app"))
    fleet.send(session, answers=False)
    await pass_time(9.9)
    assert not fleet.envoys.problems
    assert fleet.envoys.states[0].lag == pytest.approx(9.9)
    await pass_time(0.2)
    assert len(fleet.silent) == 1
    assert [problem.message for problem in fleet.envoys.problems] == fleet.silent
    answer = discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce=str(session._last_nonce))
    session.handle_request(answer)
    fleet.envoys.heard(session)
    assert not fleet.envoys.problems
    assert fleet.envoys.states[0].lag == 0
    assert len(fleet.silent) == 1
    fleet.envoys.close()


@pytest.mark.looptime
async def test_patient_waiting_ends_when_the_last_envoy_that_answers_is_done() -> None:
    fleet = Fleet()
    good, bad = fleet.connect("good"), fleet.connect("bad")
    fleet.publish(1, cluster("app"))
    for session in (good, bad):
        fleet.send(session, answers=session is good)
    began = asyncio.get_running_loop().time()
    waiting = asyncio.create_task(fleet.envoys.wait(lambda it: not it.is_pending((CLUSTER, "app")), "", 10.0))
    strict = asyncio.create_task(fleet.envoys.wait(lambda it: not it.is_pending((CLUSTER, "app")), "bad", float("inf")))
    await waiting
    assert asyncio.get_running_loop().time() - began == pytest.approx(10.0)
    assert not strict.done()
    fleet.envoys.leave(bad)
    strict.cancel()
    fleet.envoys.close()


@pytest.mark.looptime
async def test_a_client_that_connects_and_never_says_anything_counts_as_silent() -> None:
    fleet = Fleet()
    fleet.connect("", types=())
    await asyncio.wait_for(fleet.envoys.wait(lambda it: it.in_sync, "", 10.0), 11.0)
    assert fleet.envoys.states == ()  # it has no name to be reported under
    fleet.envoys.close()


@pytest.mark.looptime
async def test_an_envoy_that_left_is_reported_as_disconnected_for_an_hour() -> None:
    fleet = Fleet()
    session = fleet.connect("edge")
    fleet.publish(1, cluster("app"))
    fleet.send(session, answers=False)
    await pass_time(20.0)
    fleet.envoys.leave(session)
    (state,) = fleet.envoys.states
    assert (state.node, state.connected, state.silent) == ("edge", False, True)
    assert len(fleet.envoys.problems) == 1
    fleet.connect("edge")
    assert [(it.connected, it.silent) for it in fleet.envoys.states] == [(True, False)]
    fleet.envoys.close()


@pytest.mark.looptime
async def test_an_envoy_that_left_is_forgotten_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1e9
    monkeypatch.setattr("pilotage.xds.envoys.time.time", lambda: now)
    fleet = Fleet()
    fleet.envoys.leave(fleet.connect("edge"))
    now += 3600
    assert [state.node for state in fleet.envoys.states] == ["edge"]
    now += 1
    assert fleet.envoys.states == ()
    fleet.envoys.close()


@pytest.mark.looptime
async def test_the_state_of_the_own_envoy_is_that_of_its_last_connection_over_the_unix_socket() -> None:
    fleet = Fleet()
    assert fleet.envoys.local_state("own") is None
    fleet.connect("own")  # another machine's Envoy can have any name
    fleet.connect("other", local=True)
    assert fleet.envoys.local_state("own") is None
    old = fleet.connect("own", local=True)
    fleet.publish(1, cluster("app"))
    fleet.send(old, answers=False)
    await pass_time(20.0)
    state = fleet.envoys.local_state("own")
    assert state is not None
    assert state.silent
    new = fleet.connect("own", local=True)
    state = fleet.envoys.local_state("own")
    assert state is not None
    assert not state.silent
    fleet.envoys.leave(new)
    fleet.envoys.leave(old)
    assert fleet.envoys.local_state("own") is None
    fleet.envoys.close()


@pytest.mark.looptime
async def test_what_an_envoy_rejects_and_what_it_still_has_to_answer_are_counted() -> None:
    fleet = Fleet()
    session = fleet.connect("edge")
    fleet.publish(1, cluster("app"))
    fleet.send(session, answers=False)
    (state,) = fleet.envoys.states
    assert (state.rejected, state.waiting) == (0, 1)
    nonce = str(session._last_nonce)
    refusal = {"type_url": CLUSTER, "response_nonce": nonce, "error_detail": {"message": "cluster app: no"}}
    session.handle_request(discovery_pb2.DeltaDiscoveryRequest(**refusal))
    (state,) = fleet.envoys.states
    assert (state.rejected, state.waiting) == (1, 0)
    fleet.envoys.close()


async def test_node_ids_are_bounded_in_number_and_length_and_cannot_mislead() -> None:
    fleet = Fleet()
    for number in range(MOST_NODES + 20):
        fleet.envoys.leave(fleet.connect(f"{number}\x1b[2J{'x' * 1000}"))
    states = fleet.envoys.states
    assert len(states) == MOST_NODES
    assert all(len(it.node) <= 100 and it.node.isprintable() for it in states)
    sessions = [fleet.connect(f"node {number}") for number in range(MOST_NODES + 20)]
    assert len(fleet.envoys.states) == MOST_NODES
    assert all(it.connected for it in fleet.envoys.states)
    assert len(fleet.envoys.route_states("app", [(CLUSTER, "app")])) == MOST_NODES
    assert len(sessions) > MOST_NODES
    fleet.envoys.close()


async def test_the_version_of_a_route_is_that_of_the_table_in_which_it_last_changed() -> None:
    fleet = Fleet()
    good, bad = fleet.connect("good"), fleet.connect("bad")
    keys = [(CLUSTER, "app")]
    fleet.publish(5, cluster("app"), cluster("other"))
    for session in (good, bad):
        fleet.send(session)
    assert fleet.envoys.route_states("app", keys) == {
        "good": RouteState("accepted", 5),
        "bad": RouteState("accepted", 5),
    }
    fleet.publish(6, cluster("other", "2"))
    for version in (7, 8):
        fleet.publish(version, cluster("app", str(version)))
        fleet.send(good)
    fleet.send(bad, answers=False)
    assert fleet.envoys.route_states("app", keys) == {
        "good": RouteState("accepted", 8),
        "bad": RouteState("waiting", 5),
    }
    assert fleet.envoys.route_states("other", [(CLUSTER, "other")])["good"] == RouteState("accepted", 6)
    assert {it.node: it.version for it in fleet.envoys.states} == {"good": 8, "bad": 5}
    fleet.envoys.close()


async def test_a_stopped_envoy_delays_nothing_for_another_and_is_reported_until_it_answers(
    envoy: Envoy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilotage.xds.envoys.SILENT", 0.5)
    silent: list[Problem] = []
    async with target() as it, envoy() as gw, gw.another("edge") as edge:
        gw.ads.envoys.on_silent = silent.append
        await gw.publish(route("held", endpoints=(), hold=30.0))
        edge.send_signal(signal.SIGSTOP)
        try:
            asking = asyncio.create_task(gw.ask("held"))
            await until(lambda: gw.ads.held.clusters)
            changed = gw.publish_unheard(route("held", it.port, hold=30.0), route("app", it.port))
            assert (await asking).status == 200  # although one Envoy has not accepted its endpoint
            await becomes(lambda: _status(gw, "app"), 200)
            await gw.ads.wait_for_acks(changed, patience=0.5)
            await until(lambda: silent)
            states = {state.node: state for state in gw.ads.envoys.states}
            assert (states["edge"].silent, states["test"].silent) == (True, False)
            assert any("Envoy edge has not acknowledged" in found.message for found in gw.ads.problems)
            assert gw.ads.route_states("app")["test"].state == "accepted"
            assert gw.ads.route_states("app")["edge"].state == "waiting"
        finally:
            edge.send_signal(signal.SIGCONT)
        await gw.ads.wait_for_acks()
        assert not any("not acknowledged" in found.message for found in gw.ads.problems)
        assert gw.ads.route_states("app")["edge"].state == "accepted"


async def test_an_envoy_that_refuses_a_route_is_named_and_another_serves_it(envoy: Envoy) -> None:
    with socket.socket() as taken:  # in the network of one Envoy, and not of the other
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = PortPair(taken.getsockname()[1], 80)
        async with target() as it, envoy() as gw, gw.another("edge"):
            await gw.publish(route("stream", it.port, scheme="tcp", bind="127.0.0.1", port=port), route("app", it.port))
            found = {node: state.state for node, state in gw.ads.route_states("stream").items()}
            assert found == {"edge": "accepted", "test": "rejected"}
            assert {state.state for state in gw.ads.route_states("app").values()} == {"accepted"}
            assert {state.node: state.rejected for state in gw.ads.envoys.states} == {"edge": 0, "test": 1}
            assert gw.ads.envoys.problems == ()  # it has answered
            assert (await gw.ask("app")).status == 200


async def _status(gw: object, host: str) -> int:
    found: int = (await gw.ask(host)).status  # type: ignore[attr-defined]
    return found
