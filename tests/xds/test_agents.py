"""Requests through agents, with a real Envoy: paths, headers, TLS, retries on other replicas, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web

from pilotage.engine.archive import read_credentials
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.route import Endpoint, EndpointHealth
from pilotage.routes.rules import RuleError, read_rules
from pilotage.routes.schema import LoadBalance
from pilotage.testing import FakeEngine
from pilotage.xds.agent import Agent
from tests.support.agents import PROGRAM, AgentCertificates, agent, real_agent
from tests.support.gateway import becomes, route, target
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from pilotage.engine.config import TLSFiles
    from tests.support.gateway import Gateway

    Envoy = Callable[..., AbstractAsyncContextManager[Gateway]]

KINDS = ["ours", "real"] if PROGRAM else ["ours"]


class Behind:
    """An Envoy, and an agent that it knows."""

    def __init__(self, gateway: Gateway, running: Any, files: TLSFiles) -> None:
        self.gateway = gateway
        self.running = running
        self.files = files
        self.agent = Agent(running.address, "far", "127.0.0.1")
        self.use(self.agent)

    def use(self, *agents: Agent) -> None:
        credentials = read_credentials(self.files)
        self.gateway.ads.targets.set_agents(dict.fromkeys(agents, credentials))

    def route(self, alias: str, *ports: int, **fields: Any) -> Any:
        return route(alias, *ports, **{"agent": self.agent.address, **fields})


@pytest.fixture(params=KINDS)
async def behind(request: pytest.FixtureRequest, envoy: Envoy, tmp_path: Path) -> AsyncIterator[Behind]:
    run = agent if request.param == "ours" else real_agent
    async with (
        FakeEngine() as engine,
        run(engine.url, tmp_path, name="far") as (running, config),
        envoy(has_agents=True) as gateway,
    ):
        assert config.tls is not None
        made = Behind(gateway, running, config.tls)
        made.engine = engine  # type: ignore[attr-defined]
        yield made


async def test_requests_reach_a_container_through_the_agent(behind: Behind) -> None:
    async with target("app") as app:
        await behind.gateway.publish(behind.route("app", app.port))
        answer = await behind.gateway.ask(
            "app", "/a%2Fb//c?x=%20", "POST", data=b"x" * 300_000, headers={"X-Proxy-Host": "127.0.0.1:1"}
        )
        seen = answer.json
    assert (answer.status, seen["path"], seen["received"]) == (200, "/a%2Fb//c?x=%20", 300_000)
    headers = seen["headers"]
    assert headers["host"] == "app"
    assert headers["x-proxy-host"] == f"127.0.0.1:{app.port}"
    assert headers["x-proxy-scheme"] == "http"
    assert json.loads(base64.b64decode(headers["x-proxy-config"])) == {"response_header_timeout": 86_400_000_000_000}
    assert not [name for name in headers if name.startswith("x-envoy")]


@pytest.mark.parametrize("fields", [{}, {"service": ("far", "p", "s")}, {"hold": 1.0}])
async def test_a_clients_own_headers_never_get_through(behind: Behind, fields: dict[str, Any]) -> None:
    forged = {
        "X-Proxy-Host": "127.0.0.1:1",
        "X-Proxy-Scheme": "https",
        "X-Proxy-Config": "e30=",
        "X-Proxy-Https": "true",
        "X-Proxy-Skip-Tls-Verify": "true",
        "X-Proxy-Response-Header-Timeout": "1",
    }
    async with target("app") as app:
        await behind.gateway.publish(behind.route("app", app.port, **fields))
        headers = (await behind.gateway.ask("app", headers=forged)).json["headers"]
    sent = {name: value for name, value in headers.items() if name.startswith("x-proxy")}
    assert sent.keys() == {"x-proxy-host", "x-proxy-scheme", "x-proxy-config"}
    assert (sent["x-proxy-host"], sent["x-proxy-scheme"]) == (f"127.0.0.1:{app.port}", "http")
    assert sent["x-proxy-config"] != "e30="


@pytest.mark.parametrize("fields", [{}, {"service": ("far", "p", "s")}])
@pytest.mark.parametrize("edit", ["set_headers", "add_headers"])
async def test_a_label_sets_no_header_that_the_agent_obeys(behind: Behind, edit: str, fields: dict[str, Any]) -> None:
    async with target("app") as app, target("other") as other:
        forged = {"X-Proxy-Host": f"127.0.0.1:{other.port}", "X-Proxy-Config": "e30=", "X-Proxy-Https": "true"}
        own = {"request": {edit: forged | {"X-Proxied": "yes"}}}
        await behind.gateway.publish(behind.route("app", app.port, middlewares=own, **fields))
        answer = await behind.gateway.ask("app")
    assert (answer.status, answer.by) == (200, "app")
    headers = answer.json["headers"]
    assert (headers["x-proxy-host"], headers["x-proxied"]) == (f"127.0.0.1:{app.port}", "yes")
    assert "x-proxy-https" not in headers


@pytest.mark.parametrize("path", ["/../../../_ping", "/..%2f..%2f..%2f_ping", "/%2e%2e/%2e%2e/_ping", "/..;/_ping"])
async def test_no_path_climbs_out_to_the_engine(behind: Behind, path: str) -> None:
    async with target("app") as app:
        await behind.gateway.publish(behind.route("app", app.port))
        reader, writer = await asyncio.open_connection("127.0.0.1", behind.gateway.options.http_port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
    assert answer.split(b" ")[1] in (b"200", b"400", b"403")
    assert behind.engine.requests == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", ["{ proxy /../_ping }", "{ rewrite /a /%2e%2e/_ping }"])
def test_no_rule_leads_out_to_the_engine(rule: str) -> None:
    with pytest.raises(RuleError) as caught:
        read_rules(rule)
    assert caught.value.message.endswith("has a segment '.' or '..'")


async def test_what_remains_after_a_rewrite_does_not_climb_out_to_the_engine(behind: Behind) -> None:
    async with target("app") as app:
        await behind.gateway.publish(behind.route("app", app.port, rules="{ rewrite /a / }"))
        assert (await behind.gateway.ask("app", "/a../_ping")).status == 400
        assert (await behind.gateway.ask("app", "/a/../a.b/c")).json["path"] == "/.b/c"


async def test_a_websocket_carries_messages_both_ways(behind: Behind) -> None:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async with target("app") as app:
        app.handlers["/ws"] = echo
        await behind.gateway.publish(behind.route("app", app.port))
        async with behind.gateway.client.ws_connect(f"{behind.gateway.url}/ws", headers={"Host": "app"}) as socket:
            await socket.send_str("hello")
            assert await socket.receive_str(timeout=10) == "hello"


async def test_server_sent_events_arrive_at_once(behind: Behind) -> None:
    more = asyncio.Event()

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await more.wait()
        await response.write(b"data: 2\n\n")
        return response

    async with target("app") as app:
        app.handlers["/events"] = events
        await behind.gateway.publish(behind.route("app", app.port))
        async with behind.gateway.client.get(f"{behind.gateway.url}/events", headers={"Host": "app"}) as response:
            assert await response.content.readexactly(9) == b"data: 1\n\n"
            more.set()
            assert await response.content.readexactly(9) == b"data: 2\n\n"


async def test_a_container_that_refuses_is_our_page_with_503(behind: Behind) -> None:
    await behind.gateway.publish(behind.route("app", free_port()))
    answer = await behind.gateway.ask("app", headers={"Accept": "text/html"})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert b"<h1>This service cannot be reached.</h1>" in answer.body
    assert json.loads((await behind.gateway.ask("app", headers={"Accept": "application/json"})).body)["status"] == 503


async def test_an_agent_can_be_added_to_a_gateway_without_agents(envoy: Envoy, tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path) as (running, config), envoy() as gateway:
        assert config.tls is not None
        ads = gateway.ads
        changed = ads.configure(msgspec.structs.replace(ads.snapshot.options, has_agents=True))
        made = Behind(gateway, running, config.tls)
        await ads.wait_for_acks(changed)
        await gateway.publish(made.route("app", free_port()))
        assert (await gateway.ask("app")).status == 503


async def test_what_a_container_says_itself_stays(behind: Behind) -> None:
    async def failing(_: web.Request) -> web.Response:
        return web.json_response({"error": "upstream"}, status=502)

    async with target("app") as app:
        app.handlers["/"] = failing
        await behind.gateway.publish(behind.route("app", app.port))
        answer = await behind.gateway.ask("app")
        assert (answer.status, answer.json) == (502, {"error": "upstream"})


async def test_a_safe_request_is_tried_on_another_replica(behind: Behind) -> None:
    async with target("app") as app:
        await behind.gateway.publish(behind.route("app", free_port(), app.port, service=("far", "p", "s")))
        statuses = [(await behind.gateway.ask("app")).status for _ in range(10)]
    assert statuses == [200] * 10


async def test_replicas_share_the_requests(behind: Behind) -> None:
    async with target("one") as one, target("two") as two:
        await behind.gateway.publish(behind.route("app", one.port, two.port, service=("far", "p", "s")))
        assert {(await behind.gateway.ask("app")).by for _ in range(10)} == {"one", "two"}


async def test_an_endpoint_that_its_agent_finds_unhealthy_gets_no_requests(behind: Behind) -> None:
    async with target("one") as one, target("two") as two:
        await behind.gateway.publish(behind.route("app", one.port, two.port, service=("far", "p", "s")))
        ill = {f"127.0.0.1:{one.port}": EndpointHealth("unhealthy")}
        behind.gateway.ads.targets.set_agent_health("app", ill)
        await behind.gateway.ads.wait_for_acks()
        assert {(await behind.gateway.ask("app")).by for _ in range(10)} == {"two"}
        behind.gateway.ads.targets.set_agent_health("app", {})
        await behind.gateway.ads.wait_for_acks()
        assert {(await behind.gateway.ask("app")).by for _ in range(10)} == {"one", "two"}


async def test_a_pool_spans_two_agents(behind: Behind, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    async with (
        FakeEngine() as engine,
        agent(engine.url, tmp_path / "b", name="near") as (other, config),
        target("one") as one,
        target("two") as two,
    ):
        assert config.tls is not None
        near = Agent(other.address, "near", "127.0.0.1")
        credentials = {behind.agent: read_credentials(behind.files), near: read_credentials(config.tls)}
        behind.gateway.ads.targets.set_agents(credentials)
        link = LoadBalance(link="pool")
        await behind.gateway.publish(
            behind.route("a", one.port, load_balance=link),
            behind.route("b", two.port, load_balance=link, agent=near.address),
        )
        assert {(await behind.gateway.ask("pool")).by for _ in range(10)} == {"one", "two"}
        assert other.calls["proxy"] >= 1


async def test_a_pool_does_not_mix_containers_behind_an_agent_with_others(behind: Behind) -> None:
    async with target("one") as one, target("two") as two:
        link = LoadBalance(link="pool")
        await behind.gateway.publish(
            behind.route("a", one.port, load_balance=link), route("b", two.port, load_balance=link)
        )
        (problem,) = behind.gateway.ads.problems
        assert problem.message == "cannot join the pool 'pool': its agent differs from that of a"
        assert {(await behind.gateway.ask("pool")).by for _ in range(4)} == {"one"}


async def test_an_old_agent_gets_the_old_headers(envoy: Envoy, tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, version="v0.17.0") as (running, config):
        async with envoy() as gateway, target("app") as app:
            assert config.tls is not None
            made = Behind(gateway, running, config.tls)
            made.use(msgspec.structs.replace(made.agent, is_old=True))
            await gateway.publish(made.route("app", app.port, no_tls_verify=True))
            headers = (await gateway.ask("app", headers={"X-Proxy-Config": "e30="})).json["headers"]
    sent = {name: value for name, value in headers.items() if name.startswith("x-proxy")}
    assert sent == {
        "x-proxy-host": f"127.0.0.1:{app.port}",
        "x-proxy-https": "false",
        "x-proxy-skip-tls-verify": "true",
        "x-proxy-response-header-timeout": "86400",
    }


async def test_certificates_that_are_replaced_are_used_without_a_restart(envoy: Envoy, tmp_path: Path) -> None:
    first, second = AgentCertificates(), AgentCertificates()
    async with FakeEngine() as engine, agent(engine.url, tmp_path, certificates=first) as (running, config):
        async with envoy() as gateway, target("app") as app:
            assert config.tls is not None
            made = Behind(gateway, running, config.tls)
            await gateway.publish(made.route("app", app.port))
            assert (await gateway.ask("app")).status == 200
            await running.crash()
            running.use(second.server_context(tmp_path))
            await running.listen()
            answer = await gateway.ask("app", method="POST")
            assert answer.status == 503
            from pathlib import Path

            second.write_zip(Path(config.tls.zip_file))
            made.use(made.agent)

            async def status() -> int:
                return (await gateway.ask("app")).status

            await becomes(status, 200)


async def test_an_agent_that_is_not_known_serves_nothing(behind: Behind) -> None:
    async with target("app") as app:
        await behind.gateway.publish(behind.route("app", app.port, agent="nosuch"))
        assert (await behind.gateway.ask("app")).status == 404
        (problem,) = behind.gateway.ads.problems
        assert str(problem.message) == "agent 'nosuch' not found"


async def test_a_route_from_a_file_names_its_agent(behind: Behind) -> None:
    async with target("app") as app:
        of_file = behind.route(
            "app", app.port, agent="far", container="", container_id="", endpoints=(Endpoint("localhost", app.port),)
        )
        await behind.gateway.publish(of_file)
        assert (await behind.gateway.ask("app")).json["headers"]["x-proxy-host"] == f"localhost:{app.port}"


async def test_without_a_relay_udp_is_refused(behind: Behind) -> None:
    port = PortPair(free_port(), 80)
    await behind.gateway.publish(behind.route("app", 80, scheme="udp", port=port))
    (problem,) = behind.gateway.ads.problems
    assert problem.message.startswith("scheme udp behind an agent needs an Envoy that pilotage runs")


async def test_a_route_behind_an_agent_approves_no_requests(behind: Behind) -> None:
    """Requests for approval do not have the prefix that keeps requests away from the engine."""
    async with target("auth") as auth, target("app") as app:
        await behind.gateway.publish(
            behind.route("auth", auth.port), route("app", app.port, middlewares={"forward_auth": {"route": "auth"}})
        )
        assert (await behind.gateway.ask("app")).status in (403, 503)
        assert behind.engine.requests == []  # type: ignore[attr-defined]
        assert [it for it in behind.gateway.ads.problems if "is behind an agent" in it.message]


async def test_keys_are_in_no_repr(behind: Behind) -> None:
    assert "PRIVATE" not in repr(behind.gateway.ads.snapshot.agents.known)
    assert "PRIVATE" not in behind.gateway.log
