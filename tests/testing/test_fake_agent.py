"""The fake agent, and GoDoxy's own where there is one, as clients of their own meet them: aiohttp and plain TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import zlib
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from pilotage.testing import FakeEngine
from tests.support.agents import PROGRAM, AgentCertificates, agent, real_agent
from tests.support.gateway import target
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

BASE = "https://godoxy.agent"
PROXY = f"{BASE}/godoxy/agent/proxy/http"
KINDS = ["ours", "real"] if PROGRAM else ["ours"]


class _Resolver(AbstractResolver):
    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> Any:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        return None


def client_context(path: Path, folder: Path, protocol: str = "http/1.1") -> ssl.SSLContext:
    """Return a client's context from an archive, by other means than pilotage's."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "unpacked")
    context = ssl.create_default_context(cafile=str(folder / "unpacked" / "ca.pem"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(folder / "unpacked" / "cert.pem", folder / "unpacked" / "key.pem")
    context.set_alpn_protocols([protocol])
    return context


class Reached:
    """An agent, and a client of it."""

    def __init__(self, agent: Any, zip_file: Path, folder: Path) -> None:
        self.agent = agent
        self.port = int(agent.address.rpartition(":")[2])
        self.context: Callable[[str], ssl.SSLContext] = lambda protocol: client_context(zip_file, folder, protocol)
        connector = aiohttp.TCPConnector(resolver=_Resolver(), ssl=self.context("http/1.1"))
        self.session = aiohttp.ClientSession(connector=connector, auto_decompress=False)

    async def get(self, url: str, **options: Any) -> tuple[int, bytes]:
        method = options.pop("method", "GET")
        url = url.replace("godoxy.agent", f"godoxy.agent:{self.port}", 1)
        from yarl import URL

        async with self.session.request(method, URL(url, encoded=True), **options) as response:
            return response.status, await response.read()


@pytest.fixture(params=KINDS)
async def reached(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reached]:
    run = agent if request.param == "ours" else real_agent
    async with FakeEngine() as engine, run(engine.url, tmp_path, name="one") as (running, config):
        engine.add("web")
        assert config.tls is not None
        from pathlib import Path

        made = Reached(running, Path(config.tls.zip_file), tmp_path)
        made.engine = engine  # type: ignore[attr-defined]
        async with made.session:
            yield made


async def test_it_says_who_it_is(reached: Reached) -> None:
    status, body = await reached.get(f"{BASE}/godoxy/agent/info")
    assert (status, json.loads(body)["name"], json.loads(body)["runtime"]) == (200, "one", "docker")


async def test_everything_else_is_the_engines(reached: Reached) -> None:
    status, body = await reached.get(f"{BASE}/v1.41/containers/json?all=1")
    assert status == 200
    assert [each["Names"] for each in json.loads(body)] == [["/web"]]
    assert (await reached.get(f"{BASE}/godoxy/agent/logs"))[0] == 404


async def test_an_event_stream_begins_with_its_first_event(reached: Reached) -> None:
    opening = asyncio.create_task(reached.session.get(f"{BASE.replace('agent', f'agent:{reached.port}')}/events"))
    engine: FakeEngine = reached.engine  # type: ignore[attr-defined]
    await until(lambda: engine.hub.listeners)
    assert not opening.done()
    engine.add("db")
    async with await opening as response:
        assert json.loads(await response.content.readline())["Actor"]["Attributes"]["name"] == "db"


async def test_a_client_without_a_certificate_is_refused(reached: Reached, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(tmp_path / "unpacked" / "ca.pem"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    answer = b""
    with contextlib.suppress(OSError):  # the alert, or the end of the connection without one
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", reached.port, ssl=context, server_hostname="godoxy.agent"
        )
        writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            answer = await reader.read()
        finally:
            writer.transport.abort()
    assert answer == b""
    assert reached.engine.calls["ping"] == 0  # type: ignore[attr-defined]


async def test_requests_reach_a_container_as_they_are(reached: Reached) -> None:
    async with target("app") as app:
        headers = {"Host": "app.example.com", "X-Proxy-Scheme": "http", "X-Proxy-Config": "e30="}
        headers["X-Proxy-Host"] = f"127.0.0.1:{app.port}"
        body = b"x" * 300_000
        status, answer = await reached.get(f"{PROXY}/a%2Fb//c?x=%20", method="POST", data=body, headers=headers)
        seen = json.loads(answer)
    assert (status, seen["path"], seen["received"]) == (200, "/a%2Fb//c?x=%20", len(body))
    found = {name: seen["headers"].get(name) for name in ("host", "x-forwarded-host", "x-forwarded-proto")}
    assert found == {"host": "app.example.com", "x-forwarded-host": "app.example.com", "x-forwarded-proto": "https"}
    assert seen["headers"]["x-proxy-host"] == headers["X-Proxy-Host"]


async def test_the_old_headers_are_understood(reached: Reached) -> None:
    async with target("app") as app:
        assert (await reached.get(f"{PROXY}/", headers={"X-Proxy-Host": f"127.0.0.1:{app.port}"}))[0] == 200


async def test_options_that_are_not_valid_are_refused(reached: Reached) -> None:
    headers = {"X-Proxy-Host": "127.0.0.1:9", "X-Proxy-Scheme": "http"}
    assert (await reached.get(f"{PROXY}/", headers=headers))[0] == 400


async def test_a_target_that_refuses_is_a_page_with_502(reached: Reached) -> None:
    headers = {"X-Proxy-Host": f"127.0.0.1:{free_port()}", "X-Proxy-Scheme": "http", "X-Proxy-Config": "e30="}
    status, body = await reached.get(f"{PROXY}/", headers=headers)
    assert (status, b"not reachable" in body) == (502, True)


@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_it_checks_the_health_of_a_target(reached: Reached, scheme: str) -> None:
    url = f"{BASE}/godoxy/agent/health?scheme={scheme}&path=/&timeout=1000&host="
    async with target("app") as app:
        _, good = await reached.get(f"{url}127.0.0.1:{app.port}")
    _, bad = await reached.get(f"{url}127.0.0.1:{free_port()}")
    assert (json.loads(good)["healthy"], json.loads(bad)["healthy"]) == (True, False)
    assert "refused" in json.loads(bad)["detail"]


def header(host: str, port: int, flags: int = 0, version: bytes = b"0.1.0") -> bytes:
    """Return the header of a tunnel, byte by byte as the protocol says."""
    text, number = host.encode(), str(port).encode()
    begin = version.ljust(8, b"\0") + bytes([len(text)]) + text.ljust(255, b"\0")
    begin += bytes([len(number)]) + number.ljust(5, b"\0") + bytes([flags])
    return begin + zlib.crc32(begin).to_bytes(4, "big")


async def tunnel(reached: Reached, begin: bytes, text: bytes = b"") -> bytes:
    context = reached.context("godoxy-agent-stream/1")
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", reached.port, ssl=context, server_hostname="godoxy.agent"
    )
    try:
        writer.write(begin + text)
        async with asyncio.timeout(5):
            return await (reader.readexactly(len(text)) if text else reader.read())
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_a_tunnel_carries_bytes_both_ways(reached: Reached) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await tunnel(reached, header("127.0.0.1", port), b"hello" * 1000) == b"hello" * 1000
        broken = header("127.0.0.1", port)[:-1] + b"\0"
        assert await tunnel(reached, broken) == b""


async def test_a_probe_of_the_tunnel_is_closed_at_once(reached: Reached) -> None:
    assert await tunnel(reached, header("127.0.0.1", 9, flags=1)) == b""


async def test_an_agent_before_info_says_it_in_three_texts(tmp_path: Path) -> None:
    from pathlib import Path

    certificates = AgentCertificates()
    options = {"certificates": certificates, "has_info": False, "version": "v0.17.0"}
    async with FakeEngine() as engine, agent(engine.url, tmp_path, **options) as (running, config):  # type: ignore[arg-type]
        assert config.tls is not None
        made = Reached(running, Path(config.tls.zip_file), tmp_path)
        async with made.session:
            assert (await made.get(f"{BASE}/godoxy/agent/info"))[0] == 404
            assert await made.get(f"{BASE}/godoxy/agent/version") == (200, b"v0.17.0")
