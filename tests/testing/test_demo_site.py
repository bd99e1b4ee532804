from __future__ import annotations

import aiohttp

from pilotage.engine.address import DockerProviderConfig
from pilotage.ledger import build_table
from pilotage.survey import survey_all
from pilotage.testing.demo_site import demo_site
from tests.support.leaks import assert_no_leaks


async def test_every_http_route_of_the_demonstration_answers() -> None:
    async with assert_no_leaks(), demo_site() as engine, aiohttp.ClientSession() as session:
        survey = await survey_all([DockerProviderConfig(engine.url, name="demo")])
        routes = [r for r in build_table(survey.rosters).sorted_routes() if r.endpoints and not r.is_stream]
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


async def test_its_servers_talk_over_websockets() -> None:
    async with demo_site() as engine, aiohttp.ClientSession() as session:
        survey = await survey_all([DockerProviderConfig(engine.url, name="demo")])
        address = build_table(survey.rosters).routes["blog"].endpoints[0].address
        async with session.ws_connect(f"http://{address}/") as socket:
            await socket.send_str("ahoy")
            assert (await socket.receive()).data == "ahoy"
