from __future__ import annotations

import asyncio
import os
import socket
from email.utils import formatdate
from typing import TYPE_CHECKING

from aiohttp import web

from pilotage.cli.doctor import services
from pilotage.cli.doctor.services import check_daemon, check_engine, compare_clocks
from pilotage.engine import DockerProviderConfig
from pilotage.testing import FakeEngine, container

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NOW = 1_800_000_000.0


async def test_an_engine_that_answers_is_fine() -> None:
    async with FakeEngine([container("shop")], api="1.45") as engine:
        (found,) = await check_engine(DockerProviderConfig(engine.url, name="local"))
    assert found.state == "ok"
    assert "API 1.45, 1 running" in found.text


async def test_an_engine_without_a_socket_is_a_problem_with_a_remedy(tmp_path: Path) -> None:
    (found,) = await check_engine(DockerProviderConfig(f"unix://{tmp_path}/none.sock", name="local"))
    assert (found.state, found.check) == ("problem", "engine local")
    assert "no socket at" in found.text
    assert "start the engine" in found.remedy


async def test_an_engine_that_hangs_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_PATIENCE", 0.1)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "hanging.sock"))
        server.listen()
        (found,) = await check_engine(DockerProviderConfig(f"unix://{tmp_path}/hanging.sock", name="local"))
    assert "does not answer within" in found.text


def test_a_clock_that_differs_is_a_problem() -> None:
    assert compare_clocks("nas", formatdate(NOW - 3, usegmt=True), NOW) == []
    assert compare_clocks("nas", "", NOW) == []
    (ahead,) = compare_clocks("nas", formatdate(NOW + 90, usegmt=True), NOW)
    assert (ahead.state, ahead.text) == ("problem", "90 s ahead of this machine's clock")
    (behind,) = compare_clocks("nas", formatdate(NOW - 90, usegmt=True), NOW)
    assert behind.text == "90 s behind this machine's clock"


async def test_a_daemon_says_whether_it_is_ready(tmp_path: Path) -> None:
    status, text = 200, "ready\n"

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    app = web.Application()
    app.router.add_get("/readyz", ready)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "daemon.sock")).start()
    sockets = [tmp_path / "none.sock", tmp_path / "daemon.sock"]
    try:
        found = await asyncio.to_thread(check_daemon, sockets)
        assert (found.finding.state, found.pid) == ("ok", os.getpid())
        status, text = 503, "not ready: no engine has responded yet\n"
        found = await asyncio.to_thread(check_daemon, sockets)
        assert found.finding.state == "problem"
        assert found.finding.text.startswith("not ready: no engine has responded yet")
    finally:
        await runner.cleanup()


def test_a_daemon_that_does_not_run_or_answer_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_DAEMON_PATIENCE", 0.1)
    path = tmp_path / "daemon.sock"
    assert check_daemon([path]).finding.text.startswith("not running")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert "left behind" in check_daemon([path]).finding.text
        server.listen()
        assert "does not answer" in check_daemon([path]).finding.text
