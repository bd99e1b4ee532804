"""Ports that two routes want, or that another program has, in a running daemon."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from pilotage.testing import FakeEngine
from tests.support.envoy import web_server
from tests.support.gateway import becomes
from tests.support.ports import free_port
from tests.support.serving import of, serving
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process


async def _printed(folder: Path, *args: str) -> str:
    """Return what a command prints that asks the daemon."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pilotage", *args),
        env={**clean, "PILOTAGE_SOCKET": f"{folder}/api.sock", "COLUMNS": "300"},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    found, _ = await process.communicate()
    return found.decode()


async def _fetched(folder: Path, path: str) -> dict[str, Any]:
    """Return what the daemon's API answers."""
    connector = aiohttp.UnixConnector(str(folder / "api.sock"))
    async with aiohttp.ClientSession("http://pilotage", connector=connector) as session, session.get(path) as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def _answer(port: int) -> bytes:
    """Return the first line of what answers on a port; empty if it is closed."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return b""
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    line = await reader.readline()
    writer.close()
    return line


@pytest.mark.parametrize("scheme", ["tcp", "http"])
async def test_the_second_route_on_a_port_is_reported_everywhere_until_the_port_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    caplog.set_level("INFO", "pilotage.daemon.change_log")
    async with web_server() as target, FakeEngine() as engine:
        port = free_port()
        _add(engine, "first", "tcp", port, target)
        async with serving(of(engine), tmp_path) as served:
            await until(lambda: _open(port))
            _add(engine, "second", scheme, port, target)
            said = f"port 0.0.0.0:{port} belongs to first, which had it first"
            placed = f"local/second: proxy.second.port: tcp {said}"
            await until(lambda: placed in caplog.text)
            assert placed in await _printed(tmp_path, "routes")
            assert placed in " ".join(map(str, served.daemon.problems()))
            (problem,) = (await _fetched(tmp_path, "/v1/routes/second"))["problems"]
            assert (problem["label"], problem["path"]) == ("proxy.second.port", "port")
            assert "not served: port" in await _printed(tmp_path, "routes")
            assert f"proxy.second.port: tcp {said}" in await _printed(tmp_path, "explain", "second")
            engine.remove("first")
            await until(lambda: f"resolved: {placed}" in caplog.text)
            assert said not in await _printed(tmp_path, "routes")
            await becomes(lambda: _answer(port), b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("scheme", ["tcp", "http"])
async def test_a_port_of_another_program_is_reported_everywhere_and_opened_once_it_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    caplog.set_level("INFO", "pilotage.daemon.change_log")
    async with web_server() as target, FakeEngine() as engine:
        with socket.socket() as other:
            other.bind(("0.0.0.0", 0))
            other.listen()
            port = other.getsockname()[1]
            _add(engine, "app", scheme, port, target)
            async with serving(of(engine), tmp_path):
                why = f"Envoy pilotage cannot listen on tcp/0.0.0.0:{port}: Address already in use"
                said = f"local/app: proxy.app.port: {why}"
                await until(lambda: said in caplog.text)
                assert said in await _printed(tmp_path, "routes")
                assert said.partition(": ")[2] in await _printed(tmp_path, "explain", "app")
                other.close()
                await until(lambda: f"resolved: {said}" in caplog.text)
                assert said not in await _printed(tmp_path, "routes")
                assert await _answer(port) == b"HTTP/1.1 200 OK\r\n"


def _add(engine: FakeEngine, name: str, scheme: str, port: int, target: int) -> None:
    labels = {f"proxy.{name}.scheme": scheme, f"proxy.{name}.port": f"{port}:{target}"}
    engine.add(name, networks=(), ports=(f"{target}:{target}",), labels=labels)


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
