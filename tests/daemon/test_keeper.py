from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from pilotage.gateway.adoption import read_record
from tests.support.restarts import keeping, run_stop, upgrade
from tests.support.waiting import alive, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.slow]


def kept_pid(folder: Path) -> int:
    record = read_record(folder / "api-envoy")
    return 0 if record is None else record.pid


@contextlib.asynccontextmanager
async def envoy_apart(folder: Path, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``pilotage envoy`` for the daemon of ``keeping``."""
    with (folder / "envoy-apart.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pilotage", "envoy", "--config", f"{folder}/pilotage.yml"),
            *("--api", f"unix://{folder}/api.sock"),
            env={**os.environ, **env},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_stop_ends_the_daemon_and_its_envoy(short_path: Path) -> None:
    async with keeping(short_path) as (served, _, _):
        await served.start()
        pid = kept_pid(short_path)
        assert await run_stop(short_path) == (0, "stopped: pilotage, Envoy\n")
        assert not alive(pid)
        await served.stop()
        assert await run_stop(short_path) == (1, "neither pilotage nor Envoy is running here\n")


async def test_stop_ends_an_envoy_whose_daemon_was_killed(short_path: Path) -> None:
    async with keeping(short_path) as (served, _, _):
        await served.start()
        await served.kill()
        assert await run_stop(short_path) == (0, "stopped: Envoy\n")
        assert not alive(kept_pid(short_path))


async def test_an_envoy_apart_serves_while_the_daemon_restarts_and_is_renewed_on_sighup(short_path: Path) -> None:
    async with keeping(short_path, keep="external") as (served, _, _), envoy_apart(short_path) as apart:
        await served.start()
        await served.answers()
        first = kept_pid(short_path)
        await served.stop()
        await served.answers()
        await served.start()
        assert kept_pid(short_path) == first
        apart.send_signal(signal.SIGHUP)  # nothing has changed
        upgrade(short_path)
        apart.send_signal(signal.SIGHUP)
        await until(lambda: kept_pid(short_path) != first)
        await served.answers()
        await until(lambda: not alive(first))
        await served.answers()
        os.kill(kept_pid(short_path), signal.SIGKILL)
        await served.answers()
        apart.terminate()
        assert await apart.wait() == 0
        assert not alive(kept_pid(short_path))
        await until(lambda: "waiting until it runs again" in served.log)
        assert "Traceback" not in (short_path / "envoy-apart.log").read_text()


async def test_stop_ends_the_envoy_apart_too(short_path: Path) -> None:
    async with keeping(short_path, keep="external") as (served, _, _), envoy_apart(short_path) as apart:
        await served.start()
        assert await run_stop(short_path) == (0, "stopped: pilotage, Envoy\n")
        assert await apart.wait() == 0
        await served.stop()
