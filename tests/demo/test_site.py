from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest

from pilotage.core.errors import GatewayError
from pilotage.demo.site import DEMO_POLICY, demo_site
from pilotage.discovery.scan import scan_all
from pilotage.engine.config import DockerProviderConfig
from pilotage.table.store import build_table
from pilotage.testing.container import container
from tests.support.leaks import assert_no_leaks


async def test_every_http_route_of_the_demonstration_answers() -> None:
    async with assert_no_leaks(), demo_site() as engine, aiohttp.ClientSession() as session:
        survey = await scan_all([DockerProviderConfig(engine.url, name="demo")], policy=DEMO_POLICY)
        routes = [r for r in build_table(survey.snapshots).sorted_routes() if r.endpoints and not r.is_stream]
        assert {"blog", "git", "shop", "shop-admin", "api", "status"} <= {route.alias for route in routes}
        for route in routes:
            for endpoint in route.endpoints:
                async with session.get(f"http://{endpoint.address}/") as answer:
                    assert answer.status == 200
                    assert endpoint.container in await answer.text()
                async with session.get(f"http://{endpoint.address}/healthz") as answer:
                    assert await answer.text() == "ok\n"


async def test_two_demonstrations_do_not_disturb_each_other() -> None:
    async with demo_site() as one, demo_site() as two:
        networks = [{a for c in engine.containers.values() for a in c.networks.values()} for engine in (one, two)]
        assert not networks[0] & networks[1]


async def test_demonstrations_that_start_at_the_same_time_have_addresses_of_their_own() -> None:
    started = asyncio.Barrier(4)

    async def run() -> set[str]:
        async with demo_site() as engine:
            await started.wait()
            assert all(it.alive for it in engine.containers.values() if it.name != "wiki")
            return {address for it in engine.containers.values() for address in it.networks.values()}

    found = await asyncio.gather(*(run() for _ in range(4)))
    assert len(set().union(*found)) == sum(map(len, found))


async def test_its_servers_support_websockets() -> None:
    async with demo_site() as engine, aiohttp.ClientSession() as session:
        survey = await scan_all([DockerProviderConfig(engine.url, name="demo")], policy=DEMO_POLICY)
        address = build_table(survey.snapshots).routes["blog"].endpoints[0].address
        async with session.ws_connect(f"http://{address}/") as echo:
            await echo.send_str("ahoy")
            assert (await echo.receive()).data == "ahoy"


async def test_a_browser_sees_the_labels_that_brought_it_there() -> None:
    async with demo_site() as engine, aiohttp.ClientSession() as session:
        survey = await scan_all([DockerProviderConfig(engine.url, name="demo")], policy=DEMO_POLICY)
        routes = build_table(survey.snapshots).routes
        url = f"http://{routes['shop-admin'].endpoints[0].address}/<page>"
        async with session.get(url, headers={"Accept": "text/html,*/*"}) as answer:
            page = await answer.text()
        assert "container of the demonstration" in page
        assert "proxy.shop-admin: |\n  port: 9090\n" in page
        assert "&lt;page&gt;" in page
        assert "<page>" not in page


async def test_the_demonstration_reports_that_no_address_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.demo.site._NETWORKS", range(0))
    with pytest.raises(GatewayError, match="no loopback addresses are available for the demonstration"):
        async with demo_site():
            pass


async def test_a_container_whose_port_is_taken_is_stopped() -> None:
    told: list[str] = []
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        blog = container("blog", ports=(port,))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pilotage.demo.site.demo_containers", lambda: [container("web", ports=(2368,)), blog])
            async with assert_no_leaks(), demo_site(told.append) as engine:
                states = {each.name: each.state for each in engine.containers.values()}
    assert states == {"web": "running", "blog": "exited"}
    assert told == [f"blog is stopped because its port {port} is unavailable: Address already in use."]


async def test_its_ports_do_not_collide_with_the_gateway() -> None:
    """A gateway on every address needs its port free on all of them."""
    async with demo_site() as engine:
        used = {port.private for each in engine.containers.values() for port in each.ports}
    assert used.isdisjoint({80, 443, 8443, 8888, 2222, *range(8080, 8100)})


async def test_a_container_that_sleeps_answers_once_it_is_started() -> None:
    async with demo_site() as engine, aiohttp.ClientSession() as session:
        engine.start("wiki")
        survey = await scan_all([DockerProviderConfig(engine.url, name="demo")], policy=DEMO_POLICY)
        (endpoint,) = build_table(survey.snapshots).routes["wiki"].endpoints
        async with session.get(f"http://{endpoint.address}/") as answer:
            assert "wiki" in await answer.text()
