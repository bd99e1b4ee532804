"""Figures about the requests of each route, read from a real Envoy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from pilotage.core.errors import GatewayError
from pilotage.gateway.admin import AdminClient
from pilotage.gateway.traffic import TrafficReader
from pilotage.routes.port_syntax import PortPair
from pilotage.table.traffic import RouteTraffic
from tests.support.gateway import Gateway, becomes, gateway, route, target
from tests.support.ports import free_port
from tests.support.waiting import pass_time

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.xds.load_reports import LoadReports


class Admin:
    """The admin interface of a test's Envoy."""

    def __init__(self, gw: Gateway) -> None:
        self._client = AdminClient(gw.directory / "admin.sock", 10.0)

    async def prometheus(self, pattern: str) -> bytes:
        return await self._client.get("/stats/prometheus", filter=pattern)

    async def clusters(self, pattern: str) -> bytes:
        return await self._client.get("/clusters", format="json", filter=pattern)


def reader(gw: Gateway, monkeypatch: pytest.MonkeyPatch) -> TrafficReader:
    monkeypatch.setattr("pilotage.gateway.traffic._FRESH", 0.0)
    return TrafficReader(Admin(gw), gw.ads.loads, gw.ads.snapshot.backend)


async def _failing(_: web.Request) -> web.Response:
    return web.Response(status=500)


async def test_requests_and_errors_are_counted_exactly_for_every_kind_of_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with target() as it, target("other") as other, gateway(tmp_path) as gw:
        it.handlers["/bad"] = _failing
        await gw.publish(
            route("plain", it.port),
            route("own", it.port, max_conns_per_host=9),
            route("many", it.port, other.port),
            route("none", endpoints=()),
            route("down", free_port()),
            route("held", endpoints=(), hold=0.05),
            route("quiet", it.port),
        )
        for _ in range(20):
            for host in ("plain", "own", "many", "PLAIN.example.com"):
                await gw.ask(host)
            await gw.ask("plain", "/bad")
        for _ in range(3):
            for host in ("none", "down", "held", "nothing"):
                await gw.ask(host)
        found = await reader(gw, monkeypatch).read()
        assert {name: (it.requests, it.errors, it.in_progress) for name, it in found.items()} == {
            "plain": (60, 20, 0),
            "own": (20, 0, 0),
            "many": (20, 0, 0),
            "none": (3, 3, 0),
            "down": (3, 3, 0),
            "held": (3, 3, 0),
        }


async def test_durations_are_a_sample_whose_buckets_are_cumulative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.03)
        return web.Response()

    monkeypatch.setattr("pilotage.xds.route_stats.SAMPLED", 1)
    async with target() as it, gateway(tmp_path) as gw:
        it.handlers["/slow"] = slow
        await gw.publish(route("app", it.port))
        for _ in range(5):
            await gw.ask("app", "/slow")
        app = (await reader(gw, monkeypatch).read())["app"]
        assert app.measured == 5
        assert app.duration_sum >= 5 * 0.03 * 0.9  # Envoy records logarithms
        assert app.durations.get(0.025, 0) == 0
        assert app.durations[float("inf")] == app.durations[60.0] == 5
        assert list(app.durations.values()) == sorted(app.durations.values())


@pytest.mark.parametrize("own", [False, True])
async def test_requests_in_progress_are_those_that_the_service_works_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, own: bool
) -> None:
    release = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    async with target() as it, gateway(tmp_path) as gw:
        gw.ads.loads.configure(0.1)
        it.handlers["/wait"] = wait
        await gw.publish(route("app", it.port, **({"max_conns_per_host": 9} if own else {})))
        traffic = reader(gw, monkeypatch)
        asking = [asyncio.create_task(gw.ask("app", "/wait")) for _ in range(3)]

        async def in_progress() -> int:
            return (await traffic.read()).get("app", RouteTraffic()).in_progress

        await becomes(in_progress, 3)
        release.set()
        await asyncio.gather(*asking)
        await becomes(in_progress, 0)


async def test_connections_of_tcp_routes_are_counted_by_load_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with target() as it, gateway(tmp_path) as gw:
        gw.ads.loads.configure(0.1)
        port = free_port()
        await gw.publish(route("db", it.port, scheme="tcp", bind="127.0.0.1", port=PortPair(port, it.port)))
        traffic = reader(gw, monkeypatch)

        async def connections() -> int:
            return (await traffic.read()).get("db", RouteTraffic()).in_progress

        await becomes(lambda: _reported(gw.ads.loads), True)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await becomes(connections, 1)
        writer.close()
        await becomes(connections, 0)


async def _reported(loads: LoadReports) -> bool:
    return any(report.at > report.begun for report in loads.reports)


async def test_without_an_envoy_of_its_own_the_figures_are_those_of_the_load_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilotage.gateway.traffic._FRESH", 0.0)
    async with target() as it, gateway(tmp_path, report_errors=True) as gw:
        gw.ads.loads.configure(0.1)
        it.handlers["/bad"] = _failing
        await gw.publish(route("app", it.port, max_conns_per_host=9))
        traffic = TrafficReader(None, gw.ads.loads, gw.ads.snapshot.backend)

        async def failed() -> bool:
            await gw.ask("app", "/bad")
            found = (await traffic.read()).get("app", RouteTraffic())
            return 0 < found.errors <= found.requests

        await becomes(failed, True)


class Broken:
    """An Envoy that does not respond, or responds with something else."""

    def __init__(self, error: bool) -> None:
        self.error = error
        self.asked = 0

    async def prometheus(self, _pattern: str) -> bytes:
        self.asked += 1
        if self.error:
            raise GatewayError("Envoy does not respond", "wait")
        return b'nonsense{} x\nenvoy_pilotage_errors{route="gone",direct="*"} 3\n'

    async def clusters(self, _pattern: str) -> bytes:
        return b"[]"


@pytest.mark.looptime
@pytest.mark.parametrize("error", [False, True])
async def test_there_are_no_figures_while_envoy_does_not_respond_and_it_is_asked_once_a_second(*, error: bool) -> None:
    from pilotage.xds.load_reports import LoadReports

    broken = Broken(error)
    traffic: Any = TrafficReader(broken, LoadReports(), lambda _: None)
    for _ in range(10):
        assert await traffic.read() == {}
    assert broken.asked <= 2
    await pass_time(1.1)
    await traffic.read()
    assert broken.asked > 1
