from __future__ import annotations

import asyncio
import io
import signal
from typing import TYPE_CHECKING

import aiohttp
import pytest

from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.route import Endpoint, Route
from pilotage.xds.held_requests import SHORTEST_SLICE, accepts_connections
from pilotage.xds.server import AdsServer
from tests.support.gateway import Gateway, becomes, route, target
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.xds.session import Session
    from tests.xds.conftest import Envoy


def _excluded(it: Route, reason: str) -> Route:
    import msgspec

    return msgspec.structs.replace(it, endpoints=(), excluded=True, excluded_reason=reason)


@pytest.mark.proves("hold")
@pytest.mark.parametrize(
    "gone",
    [
        pytest.param(lambda it: [route(it.alias, endpoints=(), hold=it.settings.hold)], id="no endpoint"),
        pytest.param(lambda _: [], id="removed"),
        pytest.param(lambda it: [_excluded(it, ExclusionReason.NOT_RUNNING)], id="stopped"),
        pytest.param(
            lambda it: [route(it.alias, endpoints=(Endpoint("127.0.0.1", 9, state="waiting"),), hold=it.settings.hold)],
            id="starting",
        ),
    ],
)
async def test_requests_wait_for_a_successor(envoy: Envoy, gone: Callable[[Route], list[Route]]) -> None:
    async with target("old") as old, target("new") as new, envoy() as gw:
        first = route("app", old.port, hold=20.0)
        await gw.publish(first)
        assert (await gw.ask("app")).by == "old"
        await gw.publish(*gone(first))
        await old.stop()
        asking = [
            asyncio.create_task(gw.ask("app", method=method, data=io.BytesIO(b"x" * size)))
            for method, size in [("GET", 0), ("POST", 10), ("POST", 3_000_000)] * 30
        ]
        await until(lambda: gw.ads.held.clusters)
        await gw.publish(route("app", new.port, hold=20.0))
        answers = await asyncio.gather(*asking)
        assert {(answer.status, answer.by) for answer in answers} == {(200, "new")}
        assert sum(answer.json["received"] for answer in answers) == 30 * 3_000_010


@pytest.mark.proves("hold")
async def test_a_request_fails_after_the_hold_time(envoy: Envoy) -> None:
    async with envoy() as gw:
        await gw.publish(route("app", endpoints=(), hold=0.2))
        answer = await gw.ask("app")
        assert answer.status == 503
        assert b"did not start in time" in answer.body


async def test_a_route_without_successor_is_removed_after_its_hold_time(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, hold=0.3))
        await gw.publish()
        assert gw.ads.snapshot.lingering.keys() == {"app"}
        await until(lambda: not gw.ads.snapshot.lingering)
        await gw.ads.wait_for_acks()
        assert (await gw.ask("app")).status == 404


async def test_a_route_excluded_for_another_reason_does_not_wait(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        held = route("app", it.port, hold=30.0)
        await gw.publish(held)
        await gw.publish(_excluded(held, ExclusionReason.ERROR))
        assert (await gw.ask("app")).status == 404


def _watching() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("watch ")]


async def test_requests_wait_while_a_server_that_was_told_to_stop_refuses_connections(envoy: Envoy) -> None:
    """Its container may run on for long before the engine reports its end."""
    async with target("app") as it, envoy() as gw:
        port = it.port
        stopping = route("app", endpoints=(Endpoint("127.0.0.1", port, state="draining"),))
        await gw.publish(stopping)
        assert (await gw.ask("app")).by == "app"  # it was told to stop, but still answers
        await it.stop()
        await until(lambda: (backend := gw.ads.snapshot.backend("route/app")) is not None and backend.is_closed)
        await gw.ads.wait_for_acks()
        asking = asyncio.create_task(gw.ask("app"))
        await until(lambda: gw.ads.held.clusters)
        assert _watching() == ["watch route/app"]
        await it.start(port)
        assert (await asking).by == "app"
        await gw.publish(route("app", port))
        await until(lambda: not _watching())


async def test_requests_in_flight_when_an_endpoint_dies_reach_its_successor(envoy: Envoy) -> None:
    """The endpoint refuses connections before the table is updated; no request may fail until then."""
    async with target("old") as old, target("new") as new, envoy() as gw:
        await gw.publish(route("app", old.port, hold=20.0))
        await old.stop()
        asking = [asyncio.create_task(gw.ask("app")) for _ in range(20)]
        await _in_flight(gw, 20)
        await gw.publish(route("app", endpoints=(), hold=20.0))
        await gw.publish(route("app", new.port, hold=20.0))
        answers = await asyncio.gather(*asking)
        assert {(answer.status, answer.by) for answer in answers} == {(200, "new")}


async def _in_flight(gw: Gateway, count: int) -> None:
    """Wait until Envoy has that many requests without a response."""
    url = "http://envoy/stats?filter=^http.http.downstream_rq_active$"
    connector = aiohttp.UnixConnector(str(gw.directory / "admin.sock"))
    async with aiohttp.ClientSession(connector=connector) as admin:

        async def active() -> str:
            async with admin.get(url) as answer:
                return (await answer.text()).rpartition(" ")[2].strip()

        await becomes(active, str(count))


async def _load(gw: Gateway, host: str, stop: asyncio.Event, statuses: list[int]) -> None:
    """Send about 200 requests a second from four loops."""

    async def line() -> None:
        while not stop.is_set():
            statuses.append((await gw.ask(host)).status)
            await asyncio.sleep(0.02)

    await asyncio.gather(*(line() for _ in range(4)))


async def test_no_request_is_lost_while_replicas_come_and_go(envoy: Envoy) -> None:
    async with envoy() as gw:
        stop, statuses = asyncio.Event(), list[int]()
        async with target("one") as one:
            await gw.publish(route("app", one.port))
            loading = asyncio.create_task(_load(gw, "app", stop, statuses))
            for _ in range(5):
                async with target("two") as two, target("three") as three:
                    await gw.publish(route("app", one.port, two.port, three.port))
                    await _served(statuses, 20)
                    await gw.publish(
                        route(
                            "app",
                            endpoints=tuple(
                                Endpoint("127.0.0.1", it.port, state="ready" if it is one else "draining")
                                for it in (one, two, three)
                            ),
                        )
                    )
                    await _served(statuses, 5)
                await gw.publish(route("app", one.port))
                await _served(statuses, 10)
            stop.set()
            await loading
        assert set(statuses) == {200}


async def test_no_request_is_lost_while_a_container_with_hold_is_recreated(envoy: Envoy) -> None:
    async with envoy() as gw:
        stop, statuses = asyncio.Event(), list[int]()
        port = free_port()
        async with target("first", port=port):
            await gw.publish(route("app", port, hold=20.0))
            loading = asyncio.create_task(_load(gw, "app", stop, statuses))
            await _served(statuses, 20)
        for _ in range(5):  # nothing listens, and Envoy does not know yet
            await gw.publish()
            async with target("next", port=port):
                await gw.publish(route("app", port, hold=20.0))
                await _served(statuses, 20)
        async with target("last", port=port):
            stop.set()
            await loading
        assert set(statuses) == {200}


async def _served(statuses: list[int], more: int) -> None:
    wanted = len(statuses) + more
    await until(lambda: len(statuses) >= wanted)


async def test_requests_wait_until_the_server_of_their_container_listens(envoy: Envoy) -> None:
    port = free_port()
    async with envoy() as gw:
        await gw.publish(route("app", endpoints=(), hold=20.0))
        asking = asyncio.create_task(gw.ask("app"))
        await until(lambda: gw.ads.held.clusters)
        await gw.publish(route("app", port, hold=20.0))
        late = asyncio.create_task(gw.ask("app"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asking), 0.3)
        async with target(port=port):
            assert [(await it).status for it in (asking, late)] == [200, 200]


@pytest.mark.parametrize("host", ["255.255.255.255", "." * 300])
async def test_endpoints_that_only_envoy_can_reach_count_as_listening(host: str) -> None:
    assert await accepts_connections([(host, 80)])
    assert not await accepts_connections([("127.0.0.1", free_port())])


async def test_a_request_keeps_waiting_if_the_endpoint_disappears_before_it_listens(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", endpoints=(), hold=20.0))
        asking = asyncio.create_task(gw.ask("app"))
        await until(lambda: gw.ads.held.clusters)
        for again in (route("app", free_port(), hold=20.0), route("app", endpoints=(), hold=20.0)):
            await gw.publish(again)
        await until(lambda: not gw.ads.held._opening)
        assert not asking.done()
        await gw.publish(route("app", it.port, hold=20.0))
        assert (await asking).status == 200


async def test_each_request_waits_for_the_hold_time_however_many_came_before(envoy: Envoy) -> None:
    loop = asyncio.get_running_loop()

    async def wait() -> float:
        began = loop.time()
        assert (await gw.ask("app")).status == 503
        return loop.time() - began

    async with envoy() as gw:
        await gw.publish(route("app", endpoints=(), hold=1.0))
        asking = []
        for _ in range(20):
            asking.append(asyncio.create_task(wait()))
            await asyncio.sleep(0.1)
        assert min(await asyncio.gather(*asking)) > 0.9  # a limit for each cluster would end some after 0.1 s


async def test_a_tiny_hold_time_does_not_let_requests_change_the_route_all_the_time(envoy: Envoy) -> None:
    """Labels choose the time, and each change is sent to all Envoys."""
    async with envoy() as gw:
        await gw.publish(route("app", endpoints=(), hold=0.001))
        epochs = gw.ads.snapshot.holds.epochs
        before, ends = epochs.next(), asyncio.get_running_loop().time() + 1.5
        while asyncio.get_running_loop().time() < ends:
            assert {(await gw.ask("app")).status for _ in range(3)} == {503}
        assert epochs.next() - before <= 1 + 2 * (1.5 / SHORTEST_SLICE + 1)


async def test_requests_that_waited_for_different_clusters_are_all_answered(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", endpoints=(), hold=2.0))
        asking = []
        for number in range(12):
            body = io.BytesIO(b"x" * 100_000) if number % 2 else None
            asking.append(asyncio.create_task(gw.ask("app", method="POST" if body else "GET", data=body)))
            await asyncio.sleep(0.12)
        backend = gw.ads.snapshot.backend("route/app")
        assert backend is not None
        assert backend.cluster.startswith("hold/")
        await gw.publish(route("app", it.port, hold=2.0))
        assert {(await one).status for one in asking} == {200}


async def test_with_a_frozen_envoy_the_requests_on_another_are_answered_once_the_container_is_back(
    envoy: Envoy,
) -> None:
    async with target() as it, envoy() as gw, gw.another("edge") as edge:
        await gw.publish(route("held", endpoints=(), hold=10.0))
        edge.send_signal(signal.SIGSTOP)
        try:
            asking = [asyncio.create_task(gw.ask("held")) for _ in range(20)]
            await until(lambda: gw.ads.held.clusters)
            gw.publish_unheard(route("held", it.port, hold=10.0))
            done, _ = await asyncio.wait(asking, timeout=5.0)  # half of the hold time
            assert [one.result().status for one in done] == [200] * 20
        finally:
            edge.send_signal(signal.SIGCONT)


async def test_held_requests_cost_the_daemon_one_message_and_no_memory_each(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", endpoints=(), hold=20.0))
        asked: list[str] = []
        answer = gw.ads.gates.answer

        def watched(session: Session) -> None:
            asked.extend(session.asked)
            answer(session)

        gw.ads.gates.answer = watched  # type: ignore[method-assign]
        checks: list[object] = []
        gw.ads.gates.check = lambda *args: checks.append(args)  # type: ignore[method-assign]
        asking = [asyncio.create_task(gw.ask("app")) for _ in range(100)]
        await until(lambda: gw.ads.held.clusters)
        await gw.publish(route("app", it.port, hold=20.0))
        assert {(await one).status for one in asking} == {200}
        assert len(asked) == 1
        assert checks == []


async def test_requests_in_flight_during_a_second_outage_are_retried_in_their_cluster(envoy: Envoy) -> None:
    async with target("old") as old, target("new") as new, envoy() as gw:
        for again in (route("app", endpoints=(), hold=20.0), route("app", old.port, hold=20.0)):
            await gw.publish(again)
        await until(lambda: not gw.ads.snapshot.holds.opening)
        await gw.ads.wait_for_acks()
        assert (await gw.ask("app")).by == "old"
        await old.stop()
        asking = [asyncio.create_task(gw.ask("app")) for _ in range(20)]
        await _in_flight(gw, 20)
        for again in (route("app", endpoints=(), hold=20.0), route("app", new.port, hold=20.0)):
            await gw.publish(again)
        assert {(await one).by for one in asking} == {"new"}


async def test_requests_wait_while_the_control_plane_restarts(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", endpoints=(), hold=20.0))
        await gw.ads.close()
        asking = asyncio.create_task(gw.ask("app"))
        gw.ads = AdsServer(gw.options)
        await gw.ads.start(gw.address)
        await gw.publish(route("app", it.port, hold=20.0))
        assert (await asking).status == 200
        await gw.ads.close()
