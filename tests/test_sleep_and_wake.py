"""Containers on a real engine sleep and wake behind a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from pilotage.gateway.binary import find_envoy
from pilotage.xds.held_requests import accepts_connections
from tests.support.commandline import a_process
from tests.support.daemon_process import HOST, Served, serving, status_of
from tests.support.envoy import web_server
from tests.support.images import WEB
from tests.support.ports import free_port
from tests.support.service import run_app, run_python

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Engine

pytestmark = [pytest.mark.engine]

NAME = "pilotage-sleep-web"


def state_of(engine: Engine, name: str = NAME) -> str:
    return str(engine.inspect(name)["State"]["Status"])


def starts(engine: Engine, name: str = NAME) -> int:
    """Return how often a container was started, by the engine's record of events."""
    chosen = ("--filter", f"container={engine.inspect(name)['Id']}", "--filter", "event=start")
    until = str(int(time.time()) + 1)
    return len(
        engine.docker("events", "--since", "1", "--until", until, "--format", "{{json .}}", *chosen).splitlines()
    )


async def start(engine: Engine, **labels: str) -> None:
    given = {f"proxy.{name}": value for name, value in labels.items()}
    await asyncio.to_thread(run_app, engine, NAME, {"proxy.aliases": "shop", "proxy.idle_timeout": "1h", **given})


async def test_a_request_wakes_a_stopped_container_and_gets_its_answer(engine: Engine, tmp_path: Path) -> None:
    await start(engine)
    await asyncio.to_thread(engine.docker, "stop", "-t", "1", NAME)
    async with serving(tmp_path, {"local": engine.host}) as served, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{served.port}/"
        async with session.get(url, headers={"Host": HOST}, timeout=aiohttp.ClientTimeout(30)) as answer:
            assert answer.status == 200, await answer.text()
        assert state_of(engine) == "running"


async def test_a_thousand_requests_start_it_once(engine: Engine, tmp_path: Path) -> None:
    await start(engine)
    await asyncio.to_thread(engine.docker, "stop", "-t", "1", NAME)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        serving(tmp_path, {"local": engine.host}) as served,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        url = f"http://127.0.0.1:{served.port}/"

        async def ask() -> int:
            async with session.get(url, headers={"Host": HOST}, timeout=aiohttp.ClientTimeout(60)) as answer:
                return answer.status

        found = await asyncio.gather(*(ask() for _ in range(1000)))
        assert found == [200] * 1000
    assert await asyncio.to_thread(starts, engine) == 2  # the test's own, and one for all requests


async def test_a_request_sent_while_somebody_stops_the_container_wakes_it(engine: Engine, tmp_path: Path) -> None:
    await asyncio.to_thread(run_app, engine, NAME, {"proxy.aliases": "shop", "proxy.idle_timeout": "1h"}, linger=1)
    (network,) = engine.inspect(NAME)["NetworkSettings"]["Networks"].values()
    async with serving(tmp_path, {"local": engine.host}) as served, aiohttp.ClientSession() as session:
        await served.answers()
        stopping = asyncio.create_task(asyncio.to_thread(engine.docker, "stop", NAME))
        while await accepts_connections([(network["IPAddress"], 80)]):  # noqa: ASYNC110  # it does not tell
            await asyncio.sleep(0.01)
        asked = asyncio.create_task(status_once(session, served))  # Envoy does not yet know about the stop
        await stopping
        await until_state(engine, "running")
        assert await asked == 200, served.log
    assert await asyncio.to_thread(starts, engine) == 2


async def status_once(session: aiohttp.ClientSession, served: Served) -> int:
    async with session.get(f"http://127.0.0.1:{served.port}/", headers={"Host": HOST}) as answer:
        return answer.status


async def until_state(engine: Engine, state: str, name: str = NAME) -> None:
    async with asyncio.timeout(30):
        while await asyncio.to_thread(state_of, engine, name) != state:  # noqa: ASYNC110  # the engine does not tell
            await asyncio.sleep(0.1)


async def test_an_idle_container_is_stopped_and_the_next_request_wakes_it(engine: Engine, tmp_path: Path) -> None:
    await start(engine, idle_timeout="2s", stop_timeout="5s")
    async with serving(tmp_path, {"local": engine.host}) as served:
        await served.answers()
        await until_state(engine, "exited")
        await served.answers()
        assert state_of(engine) == "running"
        await until_state(engine, "exited")


async def test_a_request_in_progress_keeps_a_container_awake(engine: Engine, tmp_path: Path) -> None:
    await start(engine, idle_timeout="1s", stop_method="pause")
    async with serving(tmp_path, {"local": engine.host}) as served, aiohttp.ClientSession() as session:
        await served.answers()
        async with session.get(f"http://127.0.0.1:{served.port}/download?60", headers={"Host": HOST}) as answer:
            assert answer.status == 200
            for number in range(50):  # one every tenth of a second
                assert await answer.content.readline() == f"line {number}\n".encode()
            assert state_of(engine) == "running"
        await until_state(engine, "paused")
        await served.answers()


async def test_websockets_keep_a_container_awake(engine: Engine, tmp_path: Path) -> None:
    await start(engine, idle_timeout="1s")
    other, labels = "pilotage-sleep-other", {"proxy.aliases": "other", "proxy.idle_timeout": "5s"}
    await asyncio.to_thread(run_app, engine, other, labels)
    async with serving(tmp_path, {"local": engine.host}) as served, aiohttp.ClientSession() as session:
        await served.answers()
        url = f"ws://127.0.0.1:{served.port}/chat"
        async with session.ws_connect(url, headers={"Host": HOST}) as chat:
            await served.answers("other.example.com")
            await until_state(engine, "exited", other)  # it has been idle for longer than the first one may be
            await chat.send_str("still there?")
            assert await chat.receive_str(timeout=5) == "still there?"
            assert state_of(engine) == "running"
        await until_state(engine, "exited")


async def test_those_that_a_container_needs_wake_before_it_and_sleep_after_it(engine: Engine, tmp_path: Path) -> None:
    project = {"com.docker.compose.project": "shop"}
    health = ("--health-cmd", "true", "--health-interval", "1s")
    database, needed = "pilotage-sleep-db", {"com.docker.compose.service": "db", "proxy.exclude": "true"}
    await asyncio.to_thread(engine.run, database, WEB, {**project, **needed}, *health)
    await asyncio.to_thread(
        run_app,
        engine,
        NAME,
        {
            **project,
            "com.docker.compose.service": "web",
            "com.docker.compose.depends_on": "db:service_healthy:false",
            "proxy.aliases": "shop",
            "proxy.idle_timeout": "2s",
        },
    )
    async with serving(tmp_path, {"local": engine.host}) as served:
        await served.answers()
        await until_state(engine, "exited", database)
        assert state_of(engine) == "exited"
        await served.answers()
        assert (state_of(engine), state_of(engine, database)) == ("running", "running")
    inspected = await asyncio.to_thread(lambda: [engine.inspect(name)["State"] for name in (NAME, database)])
    assert inspected[1]["Health"]["Status"] == "healthy"
    assert inspected[1]["StartedAt"] < inspected[0]["StartedAt"]


async def test_a_container_that_exits_at_once_is_reported_and_tried_again(engine: Engine, tmp_path: Path) -> None:
    labels = {"proxy.aliases": "shop", "proxy.idle_timeout": "1h", "proxy.shop.port": "80"}
    await asyncio.to_thread(engine.run, NAME, WEB, labels, command=("sh", "-c", "exit 3"))
    await until_state(engine, "exited")
    async with serving(tmp_path, {"local": engine.host}) as served:
        await served.answers(status=503)
        assert f"could not be woken: {NAME} exited with code 3; 'docker logs {NAME}' shows why" in served.log


async def test_a_tcp_connection_wakes_a_container(engine: Engine, tmp_path: Path) -> None:
    port = free_port()
    await start(engine, **{"shop.scheme": "tcp", "shop.port": f"{port}:80"})
    await asyncio.to_thread(engine.docker, "stop", "-t", "1", NAME)
    async with serving(tmp_path, {"local": engine.host}) as served:
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200"), served.log
            writer.close()


_UDP_SERVER = """
import signal, socket
signal.signal(signal.SIGTERM, lambda *_: exit(0))
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 53))
while True:
    data, client = server.recvfrom(65536)
    server.sendto(b"re: " + data, client)
"""


async def test_datagrams_wake_a_container_and_each_client_gets_its_answers(engine: Engine, tmp_path: Path) -> None:
    port = free_port()
    labels = {"proxy.aliases": "dns", "proxy.idle_timeout": "1h", "proxy.dns.scheme": "udp"}
    labels["proxy.dns.port"] = f"{port}:53"
    await asyncio.to_thread(run_python, engine, NAME, labels, "-c", _UDP_SERVER)
    await asyncio.to_thread(engine.docker, "stop", "-t", "1", NAME)
    loop = asyncio.get_running_loop()

    async def ask(client: socket.socket, *texts: bytes) -> set[bytes]:
        """Return the answers. One may come twice: a server that is starting gets some datagrams again."""
        found: set[bytes] = set()
        for text in texts:
            client.send(text)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                while len(found) < len(texts):
                    found.add(await loop.sock_recv(client, 100))
        return found

    async with serving(tmp_path, {"local": engine.host}) as served, contextlib.AsyncExitStack() as opened:
        await served.accepted("dns", "pilotage")
        clients = [opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(5)]
        for client in clients:
            client.setblocking(False)
            client.connect(("127.0.0.1", port))
        for number in (b"1", b"2"):
            found = await asyncio.gather(*(ask(client, b"one " + number, b"two " + number) for client in clients))
            assert found == [{b"re: one " + number, b"re: two " + number}] * 5, served.log
            units = (await served.get("/v1/sleep"))["units"]
            assert [unit["in_progress"] for unit in units] == [5]
            await served.post(f"/v1/containers/{NAME}/sleep")
            await until_state(engine, "exited")
            await served.enters(NAME, "asleep")


async def test_an_operator_wakes_a_container_and_puts_it_to_sleep(engine: Engine, tmp_path: Path) -> None:
    await start(engine)
    await asyncio.to_thread(engine.docker, "stop", "-t", "1", NAME)
    async with serving(tmp_path, {"local": engine.host}):
        env = os.environ | {"PILOTAGE_SOCKET": str(tmp_path / "api.sock")}

        async def command(*args: str) -> tuple[int, str, str]:
            process = a_process(*args, env=env)
            out, err = await asyncio.to_thread(process.communicate, timeout=60)
            return process.returncode, out, err

        status, out, _ = await command("wake", "shop")
        assert (status, out.splitlines()[-1]) == (0, f"{NAME}: sleeps in 1h without a request")
        assert state_of(engine) == "running"
        status, out, _ = await command("sleep", NAME)
        assert (status, out.splitlines()[-1]) == (0, f"{NAME}: asleep; the next request wakes it")
        assert state_of(engine) == "exited"
        status, out, err = await command("wake", "shp")
        assert status == 1
        assert "no container that can sleep is called 'shp'" in out + err


@pytest.mark.proves("homepage.name", "homepage.icon")
async def test_a_browser_sees_a_page_that_reloads_itself_once_the_service_answers(
    engine: Engine, tmp_path: Path
) -> None:
    await start(engine, **{"shop.homepage.name": "Corner Shop", "shop.homepage.icon": "/static/icon.png"})
    await asyncio.to_thread(engine.docker, "stop", "-t", "1", NAME)
    browser = {"Host": HOST, "Accept": "text/html,application/xhtml+xml"}
    async with serving(tmp_path, {"local": engine.host}) as served, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{served.port}"
        async with session.get(f"{url}/cart?item=3", headers=browser) as answer:
            page = await answer.text()
            assert (answer.status, answer.headers["Retry-After"], answer.content_type) == (503, "2", "text/html"), page
            assert "Corner Shop is starting" in page
            assert 'src="/static/icon.png"' in page
            assert "script-src 'sha256-" in answer.headers["Content-Security-Policy"]
        async with session.get(f"{url}/.pilotage/wake-events", headers=browser) as events:
            assert events.content_type == "text/event-stream"
            told = (await events.read()).decode()
        assert told.rstrip().rpartition("event: ")[2].startswith("ready")
        async with session.get(f"{url}/cart", headers=browser) as answer:
            assert answer.status in (200, 404)
            assert "is starting" not in await answer.text()


async def test_without_the_page_a_browser_waits(engine: Engine, tmp_path: Path) -> None:
    await start(engine, no_loading_page="true")
    await asyncio.to_thread(engine.docker, "stop", "-t", "1", NAME)
    browser = {"Host": HOST, "Accept": "text/html,application/xhtml+xml"}
    async with serving(tmp_path, {"local": engine.host}) as served, aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{served.port}/", headers=browser) as answer:
            assert answer.status == 200


async def test_only_the_start_path_wakes(engine: Engine, tmp_path: Path) -> None:
    await start(engine, start_endpoint="/wake")
    await asyncio.to_thread(engine.docker, "stop", "-t", "1", NAME)
    async with serving(tmp_path, {"local": engine.host}) as served, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{served.port}"
        async with session.get(url, headers={"Host": HOST}) as answer:
            assert (answer.status, await answer.text()) == (
                403,
                "This service is asleep, and only its start page wakes it.\n",
            )
        assert state_of(engine) == "exited"
        async with session.get(f"{url}/wake?now", headers={"Host": HOST}) as answer:
            assert answer.status in (200, 404)
        await served.answers()


async def test_a_tcp_connection_survives_a_sleep_that_is_cancelled(engine: Engine, tmp_path: Path) -> None:
    """Envoy would close it ten minutes later if its listener had changed, or here after two seconds."""
    port = free_port()
    await start(engine, **{"shop.scheme": "tcp", "shop.port": f"{port}:80"})
    request = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"

    async def ask(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        stream[1].write(request)
        async with asyncio.timeout(30):
            head = await stream[0].readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), served.log
            length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
            await stream[0].readexactly(int(length.partition(b":")[2]))

    envoy = tmp_path / "envoy"
    envoy.write_text(f'#!/bin/sh\nexec {find_envoy()} "$@" --drain-time-s 2\n')
    envoy.chmod(0o755)
    gateway = {"http": f"127.0.0.1:{free_port()}", "envoy": str(envoy)}
    served = Served(tmp_path, 0, {"providers": {"docker": {"local": engine.host}}, "gateway": gateway})
    await served.start()
    try:
        await served.accepted("shop", "pilotage")
        streams = [await asyncio.open_connection("127.0.0.1", port)]
        await ask(streams[0])
        await served.post(f"/v1/containers/{NAME}/sleep")
        for _ in range(20):  # the first of them cancels the sleep
            streams.append(await asyncio.open_connection("127.0.0.1", port))
            await ask(streams[-1])
        await served.enters(NAME, "ready")
        ends = asyncio.get_running_loop().time() + 4  # twice the drain time
        while asyncio.get_running_loop().time() < ends:
            for stream in streams:
                await ask(stream)
        for _, writer in streams:
            writer.close()
        assert await asyncio.to_thread(starts, engine) == 1
    finally:
        await served.stop()


async def test_a_request_that_its_auth_service_approves_late_reaches_the_container_before_it_sleeps(
    engine: Engine, tmp_path: Path
) -> None:
    """Envoy chooses where the request goes before it asks the auth service."""
    asked, approved = asyncio.Event(), asyncio.Event()
    approved.set()

    async def approve(_: web.BaseRequest) -> web.Response:
        asked.set()
        await approved.wait()
        return web.Response()

    await start(engine, stop_method="pause", **{"shop.middlewares.forwardauth.route": "auth"})
    async with web_server(approve) as auth:
        (tmp_path / "routes.yml").write_text(json.dumps({"auth": {"host": "127.0.0.1", "port": auth}}))
        port = free_port()
        gateway = {"http": f"127.0.0.1:{port}", "workers": 2}
        providers = {"docker": {"local": engine.host}, "files": [str(tmp_path / "routes.yml")]}
        served = Served(tmp_path, port, {"providers": providers, "gateway": gateway})
        await served.start()
        try:
            await served.answers()
            asked.clear()
            approved.clear()
            async with aiohttp.ClientSession() as session:
                asking = asyncio.create_task(status_of(session, f"http://127.0.0.1:{port}/", patience=30))
                await asked.wait()
                await served.post(f"/v1/containers/{NAME}/sleep")
                for _ in range(15):  # three seconds, in which Envoy reports its load three times
                    assert await served.phase(NAME) == "quiescing"
                    await asyncio.sleep(0.2)
                assert state_of(engine) == "running"
                approved.set()
                assert await asking == 200
            await served.enters(NAME, "asleep")
            assert await asyncio.to_thread(starts, engine) == 1
        finally:
            approved.set()
            await served.stop()
