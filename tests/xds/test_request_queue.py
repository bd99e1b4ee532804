from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import pytest
from envoy.service.auth.v3 import external_auth_pb2

from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.route import Endpoint, Route
from pilotage.xds.request_queue import RequestQueue
from pilotage.xds.server import AdsServer
from tests.support.gateway import Gateway, route, target
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.xds.conftest import Envoy


def _request(backend: str) -> object:
    attributes = {"context_extensions": {"backend": backend}}
    return external_auth_pb2.CheckRequest(attributes=attributes)


@pytest.mark.looptime
async def test_a_request_waits_for_the_hold_time_of_its_route() -> None:
    queue = RequestQueue(lambda _backend: False, lambda backend: {"route/app": 5.0}.get(backend, 0.0))
    loop = asyncio.get_running_loop()
    before = loop.time()
    answer = await queue.check(_request("route/app"))
    assert loop.time() - before == 5
    assert answer.denied_response.status.code == 503
    assert queue.count == 0
    assert (await queue.check(_request("route/other"))).status.code == 0
    assert loop.time() - before == 5


async def test_requests_are_released_when_their_backend_is_ready_and_others_wait() -> None:
    ready: set[str] = set()
    queue = RequestQueue(ready.__contains__, lambda _backend: 60.0)
    tasks = [asyncio.create_task(queue.check(_request(f"route/{name}"))) for name in ("a", "a", "b")]
    await until(lambda: queue.count == 3)
    ready.add("route/a")
    queue.release_ready()
    assert [(await task).status.code for task in tasks[:2]] == [0, 0]
    assert queue.count == 1
    tasks[2].cancel()
    await asyncio.wait(tasks[2:])
    assert queue.count == 0


def _excluded(it: Route, reason: str) -> Route:
    import msgspec

    return msgspec.structs.replace(it, endpoints=(), excluded=True, excluded_reason=reason)


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
        await until(lambda: gw.ads.queued_requests == len(asking))
        await gw.publish(route("app", new.port, hold=20.0))
        answers = await asyncio.gather(*asking)
        assert {(answer.status, answer.by) for answer in answers} == {(200, "new")}
        assert sum(answer.json["received"] for answer in answers) == 30 * 3_000_010


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


async def test_requests_in_flight_when_an_endpoint_dies_reach_its_successor(envoy: Envoy) -> None:
    """The endpoint refuses connections before the table is updated; no request may fail until then."""
    async with target("old") as old, target("new") as new, envoy() as gw:
        await gw.publish(route("app", old.port, hold=20.0))
        await old.stop()
        asking = [asyncio.create_task(gw.ask("app")) for _ in range(20)]
        await until(lambda: len([task for task in asking if task.done()]) == 0)
        await gw.publish(route("app", endpoints=(), hold=20.0))
        await gw.publish(route("app", new.port, hold=20.0))
        answers = await asyncio.gather(*asking)
        assert {(answer.status, answer.by) for answer in answers} == {(200, "new")}


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


async def test_a_request_waits_until_the_server_of_its_container_listens() -> None:
    port, ready = free_port(), set[str]()
    queue = RequestQueue(ready.__contains__, lambda _backend: 60.0, lambda _backend: [("127.0.0.1", port)])
    task = asyncio.create_task(queue.check(_request("route/app")))
    await until(lambda: queue.count)
    ready.add("route/app")
    queue.release_ready()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 0.1)
    late = asyncio.create_task(queue.check(_request("route/app")))
    async with target(port=port):
        assert (await task).status.code == 0
        assert (await late).status.code == 0
    assert queue.count == 0


@pytest.mark.parametrize("host", ["255.255.255.255", "." * 300])
async def test_endpoints_that_only_envoy_can_reach_are_not_probed_forever(host: str) -> None:
    ready = set[str]()
    queue = RequestQueue(ready.__contains__, lambda _backend: 60.0, lambda _backend: [(host, 80)])
    task = asyncio.create_task(queue.check(_request("route/app")))
    await until(lambda: queue.count)
    ready.add("route/app")
    queue.release_ready()
    assert (await task).status.code == 0


@pytest.mark.looptime
async def test_a_long_queue_is_released_in_batches_oldest_first() -> None:
    ready, gone = set[str](), list[int]()
    queue = RequestQueue(ready.__contains__, lambda _backend: 60.0)

    async def ask(number: int) -> None:
        assert (await queue.check(_request("route/app"))).status.code == 0
        gone.append(number)

    tasks = [asyncio.create_task(ask(number)) for number in range(1_000)]
    await until(lambda: queue.count == 1_000)
    ready.add("route/app")
    queue.release_ready()
    await until(lambda: gone)
    assert len(gone) == 20
    before = asyncio.get_running_loop().time()
    await asyncio.wait(tasks)
    assert asyncio.get_running_loop().time() - before < 1
    assert gone == list(range(1_000))


async def test_a_request_keeps_waiting_if_the_endpoint_disappears_before_it_listens() -> None:
    ready = {"route/app"}
    queue = RequestQueue(ready.__contains__, lambda _backend: 60.0, lambda _backend: [("127.0.0.1", free_port())])
    ready.clear()
    task = asyncio.create_task(queue.check(_request("route/app")))
    await until(lambda: queue.count)
    ready.add("route/app")
    queue.release_ready()
    ready.clear()
    await until(lambda: not queue._releasing)
    assert not task.done()
    queue.release_all()
    await task


async def test_waiting_requests_are_released_when_the_control_plane_stops() -> None:
    queue = RequestQueue(lambda _backend: False, lambda _backend: 60.0)
    tasks = [asyncio.create_task(queue.check(_request(f"route/{name}"))) for name in ("a", "a", "b")]
    await until(lambda: queue.count == 3)
    queue.release_all()
    assert [(await task).status.code for task in tasks] == [0, 0, 0]
    assert queue.count == 0


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
