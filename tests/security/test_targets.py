"""Labels that name targets which are not their container's, against a real ``pilotage serve`` with a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from pilotage.discovery.host_addresses import HostAddresses
from pilotage.policy.target_addresses import is_ordinary
from pilotage.testing import FakeEngine
from tests.support.daemon_process import Served, status_of
from tests.support.install import EngineUnavailable
from tests.support.ports import free_port
from tests.support.required import missing
from tests.support.tls import xds_files
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.process]

SPELLINGS: Final = [
    "127.0.0.1", "127.1", "0x7f000001", "0177.0.0.1", "2130706433", "127.9.9.9", "0.0.0.0", "0", "::", "::1", "[::1]",
    "::ffff:127.0.0.1", "::ffff:0:127.0.0.1", "::127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::", "localhost",
    "LOCALHOST.", "api.localhost", "ip6-localhost", "loopback.example",
]  # fmt: skip

# Runs pilotage with names whose addresses stand in a file, which a test can change like an attacker's name server.
WITH_NAMES: Final = """
import json, os, socket, sys
real = socket.getaddrinfo
def getaddrinfo(host, *args, **more):
    name = host.decode() if isinstance(host, bytes) else host
    names = json.load(open(os.environ["NAMES"]))
    if name not in names:
        return real(host, *args, **more)
    with open(os.environ["NAMES"] + ".asked", "a") as asked:
        asked.write(name + "\\n")
    return [found for address in names[name] for found in real(address, *args, **more)]
socket.getaddrinfo = getaddrinfo
import runpy
runpy.run_module("pilotage", run_name="__main__", alter_sys=True)
"""


class StandIn:
    """A service on loopback that is not meant for anybody, such as a metadata service or an engine's socket."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError):
            await reader.read(1)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret")
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def stand_in(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[StandIn]:
    found = StandIn()
    async with await asyncio.start_server(found.answer, host, port) as server:
        found.port = server.sockets[0].getsockname()[1]
        yield found


class Attacked:
    """A daemon, the engine whose containers attack it, and the names that they control."""

    def __init__(self, served: Served, engine: FakeEngine, names: Path, ports: dict[str, int]) -> None:
        self.served = served
        self.engine = engine
        self.ports = ports
        self._names = names
        self._session = aiohttp.ClientSession()

    def resolve(self, **names: list[str]) -> None:
        known = {name.replace("_", "."): addresses for name, addresses in names.items()}
        new = self._names.with_suffix(".new")
        new.write_text(json.dumps(known | {"loopback.example": ["127.0.0.1"]}))
        new.replace(self._names)

    def asked(self, name: str) -> int:
        file = self._names.with_name(self._names.name + ".asked")
        return file.read_text().split().count(name) if file.exists() else 0

    def attack(self, name: str, host: str, port: int | str, **fields: str) -> None:
        labels = {f"proxy.{name}.host": host, f"proxy.{name}.port": str(port)}
        labels |= {f"proxy.{name}.{field.replace('__', '.')}": text for field, text in fields.items()}
        self.engine.add(name, labels=labels)

    def add_honest(self, name: str, port: int, **fields: str) -> None:
        labels = {f"proxy.{name}.{field.replace('__', '.')}": text for field, text in fields.items()}
        labels[f"proxy.{name}.port"] = str(port)
        self.engine.add(name, networks=(), ports=(f"{port}:{port}",), labels=labels)

    async def status(self, name: str) -> int:
        return await status_of(self._session, f"http://127.0.0.1:{self.served.port}/", name)

    async def api(self, path: str) -> Any:
        connector = aiohttp.UnixConnector(str(self.served.folder / "api.sock"))
        async with aiohttp.ClientSession("http://pilotage", connector=connector) as session, session.get(path) as it:
            return await it.json()

    async def problems(self, name: str) -> list[str]:
        found = (await self.api("/v1/problems"))["problems"]
        return [f"{it['message']}; {it['hint']}" for it in found if it["container"] == name or it["route"] == name]

    async def close(self) -> None:
        await self._session.close()


@contextlib.asynccontextmanager
async def attacked(folder: Path, more: dict[str, Any] | None = None, files: str = "") -> AsyncIterator[Attacked]:
    ports = {name: free_port() for name in ("http", "api", "xds", "stream")}
    xds = {"listen": f"127.0.0.1:{ports['xds']}", "tls": xds_files(folder)}
    gateway = {"http": f"0.0.0.0:{ports['http']}", "workers": 1, "xds": xds}
    (folder / "routes.yml").write_text(files)
    names = folder / "names.json"
    async with FakeEngine() as engine:
        configuration = {
            "providers": {"docker": {"local": engine.url}, "files": ["routes.yml"]},
            "gateway": gateway,
            **(more or {}),
        }
        options = ("--api", f"127.0.0.1:{ports['api']}")
        served = Served(folder, ports["http"], configuration, *options, program=("-c", WITH_NAMES))
        found = Attacked(served, engine, names, ports)
        found.resolve()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NAMES", str(names))
            await served.start()
        try:
            yield found
        finally:
            await found.close()
            await served.stop()


async def test_no_spelling_of_this_machine_leads_to_a_port_of_pilotage(tmp_path: Path) -> None:
    async with stand_in() as honest, attacked(tmp_path) as it:
        names = []
        for place in ("http", "api", "xds"):
            for number, host in enumerate(SPELLINGS):
                names.append(f"evil-{place}-{number}")
                it.attack(names[-1], host, it.ports[place], scheme=("http", "https", "h2c")[number % 3])
        it.add_honest("shop", honest.port)
        await it.served.answers("shop")
        for name in names:
            assert await it.status(name) in {404, 503}, name
        table = (await it.api("/v1/routes"))["routes"]
        assert {table[name]["excluded_reason"] for name in names if "-20" not in name} == {"Error"}
        for name in names:
            assert await it.problems(name), name
        assert await it.status("shop") == 200


@pytest.mark.parametrize("port", ["standin", "2375"])
async def test_loopback_is_never_connected_to_by_envoy_or_by_the_daemon_itself(tmp_path: Path, port: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        try:
            # 127.0.0.9 stands in for an address that is not a container's, with an engine's port or any other.
            secret = await stack.enter_async_context(stand_in("127.0.0.9", 2375 if port == "2375" else 0))
        except OSError:
            missing(EngineUnavailable("another program uses port 2375 of 127.0.0.9"))
        honest = await stack.enter_async_context(stand_in())
        it = await stack.enter_async_context(attacked(tmp_path))
        it.attack("plain", "127.0.0.9", secret.port)
        it.attack("tls", "127.0.0.9", secret.port, scheme="https")
        it.attack("probed", "127.0.0.9", secret.port, healthcheck__interval="1s")
        it.attack("waits", "127.0.0.9", secret.port, hold="5s")
        it.attack("named", "loopback.example", secret.port, scheme="https", hold="5s", healthcheck__interval="1s")
        it.attack("pool", "127.0.0.9", secret.port, load_balance__link="pooled")
        it.attack("db", "127.0.0.9", f"{it.ports['stream']}:{secret.port}", scheme="tcp")
        it.attack("tinyauth", "127.0.0.9", secret.port)
        labels = {"proxy.shop.port": str(honest.port), "proxy.shop.middlewares.forwardauth.route": "tinyauth"}
        it.engine.add("shop", networks=(), ports=(f"{honest.port}:{honest.port}",), labels=labels)
        it.add_honest("open", honest.port)
        await it.served.answers("open")
        await asyncio.gather(
            *map(it.status, ("plain", "tls", "probed", "waits", "pooled", "shop", "tinyauth", "named"))
        )
        with pytest.raises(OSError):  # noqa: PT011  # nothing listens there
            await asyncio.open_connection("127.0.0.1", it.ports["stream"])
        it.add_honest("watched", honest.port, healthcheck__interval="1s")
        await it.served.answers("watched")
        probes = honest.connections
        await until(lambda: honest.connections >= probes + 2)  # what Envoy probes at all it has probed by now
        assert secret.connections == 0


async def test_a_metadata_service_is_refused_and_the_problem_prints_the_line_that_allows_it(tmp_path: Path) -> None:
    hosts = ["169.254.169.254", "0xa9fea9fe", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200", "fe80::1"]
    async with stand_in() as honest, attacked(tmp_path) as it:
        for number, host in enumerate(hosts):
            it.attack(f"evil-{number}", host, 80, scheme="https")
        it.add_honest("shop", honest.port)
        await it.served.answers("shop")
        table = (await it.api("/v1/routes"))["routes"]
        for number in range(len(hosts)):
            assert table[f"evil-{number}"]["excluded_reason"] == "Error"
            (problem,) = await it.problems(f"evil-{number}")
            assert 'policy: [{who: {engine: "local", image: "acme/web:1"}, may: {targets: ["' in problem
            assert await it.status(f"evil-{number}") == 404


def another_address() -> str:
    """Return an address of this machine that containers may name, as a stranger's machine has."""
    found = sorted(filter(is_ordinary, HostAddresses()()))
    if not found:
        missing(EngineUnavailable("this machine has no address other than loopback"))
    return found[0]


async def test_a_name_that_later_resolves_to_loopback_is_not_followed(tmp_path: Path) -> None:
    lan = another_address()
    async with stand_in() as secret, stand_in(lan, secret.port) as first, attacked(tmp_path) as it:
        it.resolve(evil_example=[lan])
        it.attack("evil", "evil.example", secret.port)
        it.attack("tls", "evil.example", secret.port, scheme="https")
        it.attack("stream", "evil.example", f"{it.ports['stream']}:{secret.port}", scheme="tcp")
        await it.served.answers("evil")  # names are followed
        it.resolve(evil_example=["127.0.0.1", "::1"])
        await it.served.answers("evil", status=503)
        assert any("evil.example" in text and "loopback" in text for text in await it.problems("evil"))
        with pytest.raises(OSError):  # noqa: PT011  # its listener is gone
            await asyncio.open_connection("127.0.0.1", it.ports["stream"])
        # Of a mixed answer, only the address that was allowed is used.
        before = first.connections
        it.resolve(evil_example=["127.0.0.1", lan, "169.254.169.254"])
        await it.served.answers("evil")
        for _ in range(20):
            assert await it.status("evil") == 200
        assert first.connections > before
        assert secret.connections == 0


async def test_a_loop_is_refused_and_affects_nothing_else(tmp_path: Path) -> None:
    lan = another_address()
    file = "nas: {host: localhost, port: 1}\n"
    async with stand_in() as honest, attacked(tmp_path, files=file) as it:
        port, other = it.ports["stream"], free_port()
        it.attack("self", lan, f"{port}:{port}", scheme="tcp")
        it.attack("one", lan, f"{other}:{it.ports['xds']}", scheme="tcp")
        it.add_honest("shop", honest.port)
        await it.served.answers("shop")
        ours = f"port: {it.ports['http']}"
        files = f"nas: {{host: localhost, {ours}}}\nring: {{host: loopback.example, {ours}}}\n"
        filed = free_port()
        files += f"round: {{scheme: tcp, host: localhost, port: '{filed}:{filed}'}}\n"
        (it.served.folder / "routes.yml").write_text(files)
        await it.served.answers("shop")
        for _ in range(3):
            for opened in (port, other, filed):
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", opened)
                    writer.close()
            assert await it.status("self") in {404, 503}
            assert await it.status("ring") in {404, 503}
        assert any("its own listener" in text for text in await it.problems("self"))
        assert await it.status("shop") == 200
        assert len(it.served.envoys()) == 1


async def test_a_loop_through_a_container_that_sends_requests_back_ends_after_nine_rounds(tmp_path: Path) -> None:
    async with attacked(tmp_path) as it, stand_in() as honest:
        rounds = 0

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal rounds
            rounds += 1
            back, there = await asyncio.open_connection("127.0.0.1", it.ports["http"])
            await asyncio.gather(_pump(reader, there), _pump(back, writer))

        async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
            it.add_honest("ring", server.sockets[0].getsockname()[1])
            it.add_honest("shop", honest.port)
            await it.served.answers("shop")
            await it.served.answers("ring", status=502)
            assert 1 < rounds < 100
            assert await it.status("shop") == 200


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_own_published_ports_and_routes_from_files_reach_loopback(tmp_path: Path) -> None:
    async with stand_in() as own, stand_in() as free:
        file = f"nas: {{host: 127.0.0.1, port: {free.port}}}\nnamed: {{host: localhost, port: {free.port}}}\n"
        async with attacked(tmp_path, files=file) as it:
            labels = {"proxy.shop.host": "localhost", "proxy.shop.port": str(own.port)}
            it.engine.add("shop", ports=(f"{own.port}:80",), labels=labels)
            it.engine.add("hosted", network_mode="host", labels={"proxy.hosted.port": str(free.port)})
            for name in ("nas", "named", "shop", "hosted"):
                await it.served.answers(name)
