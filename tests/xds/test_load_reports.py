from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from envoy.service.load_stats.v3 import lrs_pb2

from pilotage.xds.load_reports import Load, LoadReports
from tests.support.gateway import becomes, route, target
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.xds.conftest import Envoy


class Peer:
    """An Envoy at the protocol's level."""

    def __init__(self, loads: LoadReports) -> None:
        self.requests: asyncio.Queue[Any] = asyncio.Queue()
        self.stream = loads.stream(self._sent(), None)

    async def _sent(self) -> AsyncIterator[Any]:
        while (request := await self.requests.get()) is not None:
            yield request

    def report(self, *clusters: tuple[str, int, int, int], node: str = "edge") -> None:
        request = lrs_pb2.LoadStatsRequest()
        request.node.id = node
        for name, active, issued, failed in clusters:
            cluster = request.cluster_stats.add(cluster_name=name)
            if active or issued:
                locality = cluster.upstream_locality_stats.add()
                found = locality.upstream_endpoint_stats.add(
                    total_requests_in_progress=active, total_issued_requests=issued, total_error_requests=failed
                )
                found.address.socket_address.address, found.address.socket_address.port_value = "10.0.0.1", 80
        self.requests.put_nowait(request)


async def test_reports_are_added_up_over_time_and_over_envoys() -> None:
    loads = LoadReports()
    one, two = Peer(loads), Peer(loads)
    await anext(one.stream)
    await anext(two.stream)
    one.report(("route/app", 2, 5, 1))
    one.report(("route/app", 1, 3, 0))
    two.report(("route/app", 4, 4, 0), ("route/other", 0, 0, 0), node="two")
    await until(lambda: loads.load("route/app") == Load(5, 12, 1))
    assert loads.load("route/app", "10.0.0.1:80") == Load(5, 12, 1)
    assert loads.load("route/app", "10.0.0.2:80") == loads.load("route/other") == Load()
    one.report(("route/app", 0, 0, 0))
    await until(lambda: loads.load("route/app") == Load(4, 12, 1))
    assert {report.node for report in loads.reports} == {"edge", "two"}
    await one.stream.aclose()  # type: ignore[attr-defined]
    assert loads.load("route/app") == Load(4, 4, 0)
    two.requests.put_nowait(None)
    with pytest.raises(StopAsyncIteration):
        await anext(two.stream)
    assert loads.reports == []


async def test_envoys_get_new_report_settings_when_these_change() -> None:
    loads = LoadReports(7.0)
    peer = Peer(loads)
    first = await anext(peer.stream)
    assert (first.send_all_clusters, first.load_reporting_interval.seconds) == (True, 7)
    assert first.report_endpoint_granularity
    loads.configure(0.5, {"route/b", "route/a"})
    second = await anext(peer.stream)
    assert (second.send_all_clusters, [*second.clusters]) == (False, ["route/a", "route/b"])
    assert second.load_reporting_interval.nanos == 500_000_000
    asking: asyncio.Future[Any] = asyncio.ensure_future(anext(peer.stream))
    loads.configure(0.5, {"route/a", "route/b"})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not asking.done()
    peer.requests.put_nowait(None)
    with pytest.raises(StopAsyncIteration):
        await asking


async def test_reports_of_many_clusters_are_less_frequent() -> None:
    loads = LoadReports(5.0)
    peer = Peer(loads)
    await anext(peer.stream)
    peer.report(*((f"route/{number}", 0, 0, 0) for number in range(6_000)))
    assert (await anext(peer.stream)).load_reporting_interval.seconds == 20
    peer.report(("route/1", 0, 0, 0))
    assert (await anext(peer.stream)).load_reporting_interval.seconds == 5
    await peer.stream.aclose()  # type: ignore[attr-defined]


async def test_what_one_envoy_can_make_pilotage_remember_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.xds.load_reports._MOST_ENDPOINTS", 10)
    monkeypatch.setattr("pilotage.xds.load_reports._MOST_SESSIONS", 1)
    loads = LoadReports()
    peer = Peer(loads)
    await anext(peer.stream)
    peer.report(*((f"x{number}", 1, 1, 0) for number in range(100)))
    await until(lambda: loads.reports[0].loads)
    assert len(loads.reports[0].loads) <= 10
    with pytest.raises(StopAsyncIteration):
        await anext(Peer(loads).stream)
    await peer.stream.aclose()  # type: ignore[attr-defined]


async def test_an_envoy_reports_requests_in_progress_and_completed(envoy: Envoy) -> None:
    release = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response(status=500)

    async with target() as it, envoy(report_errors=True) as gw:
        it.handlers["/wait"] = wait
        gw.ads.loads.configure(0.1)
        await gw.publish(route("app", it.port, max_conns_per_host=9))
        await until(
            lambda: any("route/app" in report.loads or report.at > report.begun for report in gw.ads.loads.reports)
        )
        asking = [asyncio.create_task(gw.ask("app", "/wait")) for _ in range(3)]

        async def load() -> tuple[int, int]:
            found = gw.ads.loads.load("route/app", f"127.0.0.1:{it.port}")
            return found.in_progress, found.failed

        await becomes(load, (3, 0))
        release.set()
        await asyncio.gather(*asking)
        await becomes(load, (0, 3))
        assert [report.node for report in gw.ads.loads.reports] == ["test"]


def test_the_load_of_several_endpoints_is_their_sum() -> None:
    assert Load(1, 20, 3) + Load(10, 200, 30) == Load(11, 220, 33)
