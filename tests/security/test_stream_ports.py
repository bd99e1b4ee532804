"""A label opens no listener where the operator wants none: attacks with tcp and udp routes."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from pilotage.testing import FakeEngine
from tests.support.command import pilotage_serve
from tests.support.ports import free_port
from tests.support.tls import xds_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.slow]


@asynccontextmanager
async def greeter(word: bytes = b"stranger") -> AsyncIterator[int]:
    """A server that greets everyone; yields its port."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(word)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", free_port())
    async with server:
        yield server.sockets[0].getsockname()[1]


def listen(engine: FakeEngine, name: str, port: str, *, created: int = 0, **labels: str) -> None:
    """Start a container that wants a listener: ``port`` is LISTENING:TARGET."""
    own = {f"proxy.{name}.{key}": value for key, value in labels.items()}
    target = int(port.rpartition(":")[2])
    engine.add(
        name,
        networks=(),
        ports=(f"{target}:{target}", f"{target}:{target}/udp"),
        labels={f"proxy.{name}.port": port} | own,
        created=created,
    )


async def greeting(port: int, host: str = "127.0.0.1") -> bytes:
    """Return what a port says; nothing if nobody listens or it waits for the client."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return b""
    try:
        async with asyncio.timeout(1):
            return await reader.read(100)
    except (TimeoutError, ConnectionError):
        return b""
    finally:
        writer.close()


async def greets(port: int, host: str = "127.0.0.1") -> None:
    async with asyncio.timeout(60):
        while await greeting(port, host) != b"stranger":  # noqa: ASYNC110  # it happens in Envoy
            await asyncio.sleep(0.05)


async def test_no_label_listens_on_a_port_of_pilotage_ssh_or_an_engine(tmp_path: Path) -> None:
    api, xds, free = free_port(), free_port(), free_port()
    async with greeter() as target, FakeEngine() as engine:
        config = f"gateway:\n  xds: {{listen: 127.0.0.1:{xds}, tls: {json.dumps(xds_files(tmp_path))}}}"
        options = ("--api", f"127.0.0.1:{api}")
        async with pilotage_serve(tmp_path, engine, config=config, options=options) as command:
            own = {"gateway": command.port, "api": api, "xds": xds}
            others = {"ssh": 22, "engine": 2375, "tls-engine": 2376, "swarm": 2377}
            for name, port in (own | others).items():
                listen(engine, name, f"{port}:{target}")
                listen(engine, f"udp-{name}", f"{port}:{target}", scheme="udp")
            listen(engine, "free", f"{free}:{target}")
            await greets(free)
            for name, port in (own | others).items():
                for each in (name, f"udp-{name}"):
                    assert (await command.route_of(each, each))["excluded_reason"] == "Error"
                    (message,) = await command.problems(each)
                    assert f"port {port}" in message
                    assert ("pilotage itself listens" in message) is (name in own)
                assert await greeting(port) != b"stranger"
            assert await command.route("free")  # the API still answers


async def test_labels_listen_only_on_ports_that_the_gateway_offers(tmp_path: Path) -> None:
    offered, other = free_port(), free_port()
    async with greeter() as target, FakeEngine() as engine:
        listen(engine, "offered", f"{offered}:{target}")
        listen(engine, "other", f"{other}:{target}")
        config = f"gateway:\n  stream_ports: [{offered}-{offered}]"
        async with pilotage_serve(tmp_path, engine, config=config) as command:
            await greets(offered)
            assert await command.problems("other") == [f"port {other} is not in gateway.stream_ports"]
            assert await greeting(other) == b""


async def test_labels_listen_only_on_addresses_of_the_gateway(tmp_path: Path) -> None:
    inside, outside = free_port(), free_port()
    async with greeter() as target, FakeEngine() as engine:
        listen(engine, "inside", f"{inside}:{target}")
        listen(engine, "outside", f"{outside}:{target}", bind="0.0.0.0")
        async with pilotage_serve(tmp_path, engine, config="gateway:\n  http: 127.0.0.1:8080") as command:
            await greets(inside)
            assert await greeting(inside, "127.0.0.2") == b""
            assert await command.problems("outside") == ["the gateway does not listen on 0.0.0.0"]
            assert await greeting(outside) == b""


async def test_a_rule_may_open_another_port_but_none_of_pilotage(tmp_path: Path) -> None:
    port = free_port()
    async with greeter() as target, FakeEngine() as engine:
        listen(engine, "ours", f"{port}:{target}")
        config = f"""
gateway: {{stream_ports: []}}
policy:
  - who: {{engine: engine0}}
    may: {{ports: [{port}]}}
"""
        async with pilotage_serve(tmp_path, engine, config=config) as command:
            await greets(port)
            listen(engine, "thief", f"{command.port}:{target}")
            assert (await command.route_of("thief", "thief"))["excluded"]


async def test_no_newcomer_takes_the_port_of_a_running_stream(tmp_path: Path) -> None:
    port = free_port()
    async with greeter() as mine, greeter(b"intruder") as other, FakeEngine() as first, FakeEngine() as second:
        listen(second, "holder", f"{port}:{mine}", bind="127.0.0.1")
        async with pilotage_serve(tmp_path, first, second, config="gateway:\n  http: 0.0.0.0:8080") as command:
            await greets(port)
            listen(second, "a", f"{port}:{other}", bind="127.0.0.1", created=1)
            listen(second, "b", f"{port}:{other}", bind="0.0.0.0", created=1)
            listen(first, "c", f"{port}:{other}", created=1)
            for name in "abc":
                await command.route_of(name, name)
                async with asyncio.timeout(60):
                    while not (found := await command.problems(name)):  # noqa: ASYNC110  # the daemon publishes it
                        await asyncio.sleep(0.02)
                assert "holder, which had it first" in " ".join(found)
                assert await greeting(port) == b"stranger"
            second.restart("holder")
            await greets(port)
            second.remove("holder")
            async with asyncio.timeout(60):
                while await greeting(port) != b"intruder":  # noqa: ASYNC110  # it happens in Envoy
                    await asyncio.sleep(0.05)
