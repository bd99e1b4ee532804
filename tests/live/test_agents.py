"""A real Docker behind an agent: the same routes as without, and no request lost while containers are redeployed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.config.engines import EngineChoice
from pilotage.daemon.settings import Flags
from pilotage.discovery.scan import scan_engine
from pilotage.engine.config import DockerProviderConfig
from tests.support.agents import PROGRAM, agent, real_agent
from tests.support.datagrams import replies, udp_client
from tests.support.gateway import becomes
from tests.support.images import GRACEFUL, WEB
from tests.support.ports import free_port
from tests.support.service import run_python
from tests.support.serving import serving
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.routes.route import Route
    from tests.support.engines import Engine

KINDS = ["ours", "real"] if PROGRAM else ["ours"]

VARIED: dict[str, dict[str, str]] = {
    **{f"plain{n}": {} for n in range(8)},
    **{f"port{n}": {f"proxy.port{n}.port": str(8000 + n)} for n in range(6)},
    **{f"https{n}": {"proxy.#1.scheme": "https", "proxy.#1.no_tls_verify": "true"} for n in range(3)},
    **{f"wide{n}": {"proxy.aliases": f"a{n},b{n}, c{n}", "proxy.*.hold": "2s"} for n in range(4)},
    **{f"pooled{n}": {f"proxy.pooled{n}.load_balance.link": "pool"} for n in range(3)},
    **{f"yaml{n}": {f"proxy.yaml{n}": "port: 9000\nmiddlewares: {add_prefix: {add_prefix: /x}}"} for n in range(2)},
    "hidden": {"proxy.exclude": "true"},
    "wrong": {"proxy.wrong.port": "many"},
    "typo": {"proxy.typo.prot": "80"},
    "stream": {"proxy.stream.scheme": "tcp", "proxy.stream.port": "9022:22"},
    "elsewhere": {"proxy.elsewhere.host": "10.9.9.9", "proxy.elsewhere.port": "80"},
    "inside": {"proxy.inside.host": "127.0.0.1", "proxy.inside.port": "80"},
    "sleepy": {"proxy.idle_timeout": "1h"},
    "stray": {"proxy.network": "nowhere"},
}


def facts(route: Route) -> tuple[Any, ...]:
    return (
        *(route.scheme, route.host, route.port, route.excluded, route.excluded_reason, route.settings),
        *(route.service, route.idle_watcher, route.health_check),
        [(endpoint.host, endpoint.port, endpoint.state) for endpoint in route.endpoints],
        sorted((problem.message, problem.hint, problem.label) for problem in route.problems),
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_forty_varied_containers_have_the_same_routes(engine: Engine, tmp_path: Path, kind: str) -> None:
    running = ("plain0", "wide0", "pooled0", "pooled1", "inside", "stray")
    for name, labels in VARIED.items():
        (engine.run if name in running else engine.create)(name, labels=labels)
    engine.run("hosted", WEB, {"proxy.hosted.port": "80"}, "--network", "host", command=["sleep", "60"])
    engine.run("published", WEB, {}, "-p", "127.0.0.1::80")
    for number in (1, 2):
        compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
        engine.run(f"shop{number}", labels={**compose, "proxy.aliases": "shop"})
    run = agent if kind == "ours" else real_agent
    async with run(engine.host, tmp_path, name="far") as (_, config):
        direct = await scan_engine(DockerProviderConfig(engine.host, name="far"))
        through = await scan_engine(config)
    assert through.config.name == "far"
    found, expected = (
        {(it.container, it.alias): facts(it) for built in each.built for it in built.routes}
        for each in (through, direct)
    )
    assert found == expected
    assert len(found) > 40


@pytest.mark.parametrize("kind", KINDS)
async def test_no_request_is_lost_while_replicas_are_restarted(engine: Engine, tmp_path: Path, kind: str) -> None:
    compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    for number in (1, 2):
        engine.run(f"shop{number}", GRACEFUL, {**compose, "proxy.aliases": "shop", "proxy.shop.port": "80"})
    run = agent if kind == "ours" else real_agent
    async with run(engine.host, tmp_path, name="far") as (running, _):
        file = tmp_path / "pilotage.yml"
        file.write_text(f"providers:\n  agents: [{running.address!r}]\n")
        async with serving(Flags(choice=EngineChoice(config=str(file))), tmp_path) as served:
            await served.answers("shop")
            statuses: list[int] = []
            done = asyncio.Event()

            async def request() -> None:
                while not done.is_set():
                    statuses.append((await served.ask("shop"))[0])

            clients = [asyncio.create_task(request()) for _ in range(4)]
            for name in ("shop1", "shop2"):
                table = served.daemon.discovery.table
                await asyncio.to_thread(engine.docker, "restart", "-t", "3", name)
                await until(
                    lambda: (
                        [it.state for it in served.daemon.discovery.table.routes["shop"].endpoints]
                        == ["ready", "ready"]
                    )
                )
                assert table.routes["shop"].agent == running.address
            done.set()
            await asyncio.gather(*clients)
            assert len(statuses) > 20
            assert {status for status in statuses if status != 200} == set()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_tcp_container_is_reached_through_the_tunnel(engine: Engine, tmp_path: Path, kind: str) -> None:
    mine = free_port()
    labels = {"proxy.db.scheme": "tcp", "proxy.db.port": f"{mine}:7", "proxy.db.bind": "127.0.0.1"}
    labels["proxy.idle_timeout"] = "1h"
    echo = ["sh", "-c", "while :; do nc -l -p 7 -e cat; done"]
    engine.run("db", WEB, labels, command=echo)
    run = agent if kind == "ours" else real_agent
    async with run(engine.host, tmp_path, name="far") as (running, _):
        file = tmp_path / "pilotage.yml"
        file.write_text(f"providers:\n  agents: [{running.address!r}]\n")
        async with serving(Flags(choice=EngineChoice(config=str(file))), tmp_path) as served:
            await becomes(lambda: _echoed(mine), b"ping\n")
            await running.crash()
            assert await _echoed(mine) == b""
            await running.listen()
            await becomes(lambda: _echoed(mine), b"ping\n")
            await until(lambda: served.daemon.discovery.table.engines["far"].state == "live")
            await asyncio.to_thread(engine.docker, "stop", "-t", "0", "db")
            await becomes(lambda: _echoed(mine), b"ping\n")  # the connection wakes it
            assert served.daemon.problems() == ()


@pytest.mark.parametrize("kind", KINDS)
async def test_udp_clients_of_a_container_are_reached_by_tunnels(engine: Engine, tmp_path: Path, kind: str) -> None:
    mine = free_port()
    labels = {"proxy.dns.scheme": "udp", "proxy.dns.port": f"{mine}:53", "proxy.dns.bind": "127.0.0.1"}
    labels["proxy.idle_timeout"] = "1h"
    await asyncio.to_thread(run_python, engine, "dns", labels, "-c", _UDP_SERVER)
    run = agent if kind == "ours" else real_agent
    async with run(engine.host, tmp_path, name="far") as (running, _):
        file = tmp_path / "pilotage.yml"
        file.write_text(f"providers:\n  agents: [{running.address!r}]\n")
        async with serving(Flags(choice=EngineChoice(config=str(file))), tmp_path) as served:
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(udp_client(mine)) for _ in range(5)]

                async def answered() -> list[bytes]:
                    return await asyncio.gather(*(replies(each, b"%d" % at) for at, each in enumerate(clients)))

                expected = [b"%d" % at for at in range(5)]
                await becomes(answered, expected)
                await running.crash()
                await running.listen()
                await becomes(answered, expected)
                await until(lambda: served.daemon.discovery.table.engines["far"].state == "live")
                await asyncio.to_thread(engine.docker, "stop", "-t", "0", "dns")
                await becomes(answered, expected)  # the datagrams wake it
                assert served.daemon.problems() == ()


_UDP_SERVER = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 53))
while True:
    server.sendto(*server.recvfrom(65536))
"""


async def _echoed(port: int) -> bytes:
    """Return what comes back over a new connection; nothing if it ends."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"ping\n")
        found = await reader.readline()
        writer.close()
    except OSError:
        return b""
    return found
