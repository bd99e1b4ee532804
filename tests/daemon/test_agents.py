"""A whole daemon with an engine behind an agent: requests, restarts, certificates, sleep and health."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.config.engines import EngineChoice
from pilotage.daemon.settings import Flags
from pilotage.testing import FakeEngine
from tests.support.agents import AgentCertificates, agent
from tests.support.datagrams import replies, udp_client, udp_echo
from tests.support.gateway import becomes, target
from tests.support.ports import free_port
from tests.support.rpc import grpc_server, grpc_upper
from tests.support.serving import add, serving
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pilotage.testing import FakeAgent
    from tests.support.serving import Served


class Site:
    """An engine, its agent, and the daemon that serves its containers."""

    def __init__(self, engine: FakeEngine, running: FakeAgent, certificates: AgentCertificates, folder: Path) -> None:
        self.engine = engine
        self.agent = running
        self.certificates = certificates
        self.folder = folder

    @contextlib.asynccontextmanager
    async def serving(self, more: str = "") -> AsyncIterator[Served]:
        text = f"providers:\n  agents: [{self.agent.address!r}]\n{more}"
        file = self.folder / "pilotage.yml"
        file.write_text(text)
        async with serving(Flags(choice=EngineChoice(config=str(file))), self.folder) as served:
            yield served


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = AgentCertificates()
    async with FakeEngine() as engine, agent(engine.url, tmp_path, certificates=made, name="far") as (running, _):
        yield Site(engine, running, made, tmp_path)


@pytest.mark.slow
async def test_containers_behind_an_agent_are_served(site: Site) -> None:
    async with target("web") as web:
        add(site.engine, "web", web.port)
        routes = f"page: {{host: 127.0.0.1, port: {web.port}, agent: far}}\n"
        (site.folder / "routes.yml").write_text(routes)
        async with site.serving("  files: [routes.yml]\n") as served:
            assert (await served.ask("page"))[0] == 200  # the first table knows the names of agents
            assert (await served.ask("web"))[0] == 200
            assert [method for method, _, _ in site.agent.proxied] == ["GET", "GET"]
            assert served.daemon.problems() == ()
            assert list(served.daemon.discovery.table.engines) == ["far"]


@pytest.mark.slow
async def test_while_an_agent_is_away_its_routes_answer_503(site: Site) -> None:
    async with target("web") as web:
        add(site.engine, "web", web.port)
        async with site.serving() as served:
            await site.agent.crash()
            status, text = await served.ask("web")
            assert (status, "This service refuses connections." in text) == (503, True)
            await until(lambda: served.daemon.discovery.table.engines["far"].state == "stale")
            assert (await served.ask("web"))[0] == 503
            await site.agent.listen()
            await served.answers("web")


@pytest.mark.slow
async def test_certificates_that_change_on_disk_reach_envoy(site: Site) -> None:
    async with target("web") as web:
        add(site.engine, "web", web.port)
        async with site.serving() as served:
            await site.agent.crash()
            second = AgentCertificates()
            site.agent.use(second.server_context(site.folder))
            await site.agent.listen()
            assert (await served.ask("web"))[0] == 503
            second.write_zip(site.folder / "certs" / f"{site.agent.address}.zip")
            await served.answers("web")


@pytest.mark.slow
async def test_a_container_behind_an_agent_sleeps_and_wakes(site: Site) -> None:
    async with target("web") as web:
        labels = {"proxy.idle_timeout": "1h", "proxy.web.port": str(web.port)}
        site.engine.add("web", networks=(), ports=(f"{web.port}:{web.port}",), labels=labels, state="exited")
        async with site.serving() as served:
            status, _ = await served.ask("web")
            assert status == 200
            assert site.engine.calls["start"] == 1
            assert site.agent.calls["health"] >= 1


@pytest.mark.slow
async def test_a_target_that_its_agent_finds_unhealthy_leaves_a_pool(site: Site) -> None:
    async with target("one") as one, target("two") as two:
        for each in (one, two):
            labels = {
                f"proxy.{each.name}.port": str(each.port),
                f"proxy.{each.name}.load_balance.link": "pool",
                f"proxy.{each.name}.healthcheck.interval": "1s",
                f"proxy.{each.name}.healthcheck.retries": "1",
            }
            site.engine.add(each.name, networks=(), ports=(f"{each.port}:{each.port}",), labels=labels)
        async with site.serving() as served:
            await until(lambda: states(served, "one") == ["healthy"])
            assert {await by(served) for _ in range(10)} == {"one", "two"}
            await two.stop()
            await until(lambda: states(served, "two") == ["unhealthy"])
            await served.daemon.ads.wait_for_acks()
            before = sum("pool" in headers["host"] for _, _, headers in site.agent.proxied)
            assert {await by(served) for _ in range(10)} == {"one"}
            assert sum("pool" in headers["host"] for _, _, headers in site.agent.proxied) == before + 10


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def add_tcp(site: Site, port: int, **more: Any) -> int:
    """Add a container with a tcp server; return the port of its route."""
    mine = free_port()
    labels = {"proxy.db.scheme": "tcp", "proxy.db.port": f"{mine}:{port}", "proxy.db.bind": "127.0.0.1"}
    labels |= more.pop("labels", {})
    site.engine.add("db", networks=(), ports=(f"{port}:{port}",), labels=labels, **more)
    return mine


async def says(port: int, text: bytes = b"ping\n") -> bytes:
    """Return what comes back over a connection whose client ends its direction first; nothing if it is refused."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return b""
    try:
        writer.write(text)
        writer.write_eof()
        return await reader.read()
    except OSError:
        return b""
    finally:
        writer.close()


@pytest.mark.slow
async def test_a_tcp_route_goes_through_a_tunnel_until_its_container_goes(site: Site) -> None:
    async with echo_server() as port:
        mine = add_tcp(site, port)
        async with site.serving() as served:
            await becomes(lambda: says(mine), b"ping\n")
            assert await says(mine, LARGE) == LARGE
            assert served.daemon.problems() == ()
            await site.agent.crash()
            assert await says(mine) == b""
            await site.agent.listen()
            await becomes(lambda: says(mine), b"ping\n")
            site.engine.remove("db")
            await becomes(lambda: says(mine), b"")
            await until(lambda: not served.daemon.discovery.table.routes)


LARGE = bytes(range(256)) * 16_384


def add_udp(site: Site, port: int, **more: Any) -> int:
    """Add a container with a udp server; return the port of its route."""
    mine = free_port()
    labels = {"proxy.dns.scheme": "udp", "proxy.dns.port": f"{mine}:{port}", "proxy.dns.bind": "127.0.0.1"}
    labels |= more.pop("labels", {})
    site.engine.add("dns", networks=(), ports=(f"{port}:{port}/udp",), labels=labels, **more)
    return mine


@pytest.mark.slow
async def test_a_udp_route_goes_through_a_tunnel_until_its_container_goes(site: Site) -> None:
    async with udp_echo() as server:
        mine = add_udp(site, server.port)
        async with site.serving() as served:
            with udp_client(mine) as client, udp_client(mine) as other:
                await becomes(lambda: replies(client), b"ping")
                largest = bytes(16_384)
                for datagram in (b"a", bytes(1472), largest):
                    assert await replies(other, datagram, patience=10) == datagram
                assert await replies(other, largest + b"x", patience=0.2) == b""
                assert (len(server.clients), site.agent.calls["udp"]) == (2, 2)
                assert served.daemon.problems() == ()
                await site.agent.crash()
                assert await replies(client, patience=0.2) == b""
                second = AgentCertificates()
                second.write_zip(site.folder / "certs" / f"{site.agent.address}.zip")
                site.agent.use(second.server_context(site.folder), second.for_udp())
                await site.agent.listen()
                await becomes(lambda: replies(client), b"ping")
                await becomes(lambda: replies(other), b"ping")
                site.engine.remove("dns")
                await becomes(lambda: replies(client, patience=0.2), b"")
                await until(lambda: not served.daemon.discovery.table.routes)


@pytest.mark.slow
async def test_datagrams_wake_a_container_behind_an_agent(site: Site) -> None:
    async with udp_echo() as server:
        mine = add_udp(site, server.port, labels={"proxy.idle_timeout": "1h"}, state="exited")
        async with site.serving():
            with udp_client(mine) as client:
                await becomes(lambda: replies(client, patience=10), b"ping")
                assert site.engine.calls["start"] == 1
                assert site.agent.calls["udp"] == 1
                assert await replies(client, b"more") == b"more"


@pytest.mark.slow
async def test_a_tcp_container_behind_an_agent_sleeps_and_wakes(site: Site) -> None:
    async with echo_server() as port:
        mine = add_tcp(site, port, labels={"proxy.idle_timeout": "1h"}, state="exited")
        async with site.serving():
            assert await says(mine) == b"ping\n"
            assert site.engine.calls["start"] == 1


@pytest.mark.slow
async def test_the_address_of_a_tcp_client_is_passed_on(site: Site) -> None:
    async with echo_server() as port:
        mine = add_tcp(site, port, labels={"proxy.db.relay_proxy_protocol_header": "true"})
        async with site.serving():
            found = b""
            while not found:
                found = await says(mine)
    assert found.startswith(b"\r\n\r\n\0\r\nQUIT\n")  # the PROXY header, version 2
    assert found.endswith(b"ping\n")
    assert socket.inet_aton("127.0.0.1") in found


@pytest.mark.slow
async def test_grpc_goes_through_a_tunnel(site: Site) -> None:
    server, port = await grpc_server()
    labels = {"proxy.rpc.scheme": "h2c", "proxy.rpc.port": str(port)}
    site.engine.add("rpc", networks=(), ports=(f"{port}:{port}",), labels=labels)
    async with site.serving() as served:
        assert served.daemon.problems() == ()
        assert await grpc_upper(served.port, "rpc.example.org") == b"ONE TWO"
        assert site.agent.calls["tunnel"] == 1
        assert site.agent.proxied == []
    await server.stop(0)


async def test_without_an_envoy_here_there_is_no_tunnel(site: Site) -> None:
    async with echo_server() as port:
        add_tcp(site, port)
        file = site.folder / "pilotage.yml"
        file.write_text(f"providers:\n  agents: [{site.agent.address!r}]\n")
        flags = Flags(choice=EngineChoice(config=str(file)), gateway=False)
        async with serving(flags, site.folder, XDG_RUNTIME_DIR=str(site.folder)) as served:
            await until(served.daemon.problems)
            (problem,) = served.daemon.problems()
            assert problem.message.startswith("scheme tcp behind an agent needs an Envoy that pilotage runs")


def states(served: Served, alias: str) -> list[str]:
    return [health.state for health in served.daemon.discovery.table.health_of(alias).values()]


async def by(served: Served) -> str:
    async with served.session.get(f"http://127.0.0.1:{served.port}/", headers={"Host": "pool"}) as answer:
        return answer.headers.get("X-From", str(answer.status))
