from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiohttp import web

from pilotage.gateway.external import ExternalLauncher
from pilotage.gateway.processes import UNKNOWN_STATUS
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_envoy_is_awaited_and_followed_by_its_admin_interface(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr("pilotage.gateway.external._PATIENCE", 0.1)
    launcher = ExternalLauncher(tmp_path)
    assert launcher.keeps
    starting = asyncio.create_task(launcher.start())
    await until(lambda: "start it with: pilotage envoy" in caplog.text)

    async def ready(_: web.BaseRequest) -> web.Response:
        return web.Response(status=503)  # it is starting, so it runs

    runner = web.ServerRunner(web.Server(ready))
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "admin.sock")).start()
    process = await starting
    waiting = asyncio.create_task(process.wait())
    await asyncio.sleep(0)
    assert process.returncode is None
    await runner.cleanup()
    assert await waiting == UNKNOWN_STATUS
    lines: list[str] = []
    await launcher.read_log(process, lines.append)
    assert not lines


async def test_to_kill_it_is_to_follow_it_no_longer(tmp_path: Path) -> None:
    async def ready(_: web.BaseRequest) -> web.Response:
        return web.Response()

    runner = web.ServerRunner(web.Server(ready))
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "admin.sock")).start()
    process = await ExternalLauncher(tmp_path).start()
    process.terminate()
    assert await process.wait() == UNKNOWN_STATUS
    await runner.cleanup()
