"""Containers on a real engine sleep and wake behind a real Envoy."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.support.daemon_process import HOST, serving, status_of
from tests.support.service import run_app
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Engine

pytestmark = [pytest.mark.engine]

NAME = "pilotage-sleep-web"


def state_of(engine: Engine, name: str = NAME) -> str:
    return str(engine.inspect(name)["State"]["Status"])


async def start(engine: Engine, **labels: str) -> None:
    given = {f"proxy.{name}": value for name, value in labels.items()}
    await asyncio.to_thread(run_app, engine, NAME, {"proxy.aliases": "shop", "proxy.idle_timeout": "1h", **given})


async def test_a_request_wakes_a_stopped_container_and_gets_its_answer(engine: Engine, tmp_path: Path) -> None:
    await start(engine)
    await asyncio.to_thread(engine.docker, "stop", "-t", "1", NAME)
    async with serving(tmp_path, {"local": engine.host}) as served, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{served.port}/"
        began = time.monotonic()
        print(served.log)
        async with session.get(url, headers={"Host": HOST}, timeout=aiohttp.ClientTimeout(30)) as answer:
            assert answer.status == 200, await answer.text()
            print(time.monotonic() - began, served.log)
        assert state_of(engine) == "running"


async def test_a_thousand_requests_start_it_once(engine: Engine, tmp_path: Path) -> None:
    await start(engine)
    await asyncio.to_thread(engine.docker, "stop", "-t", "1", NAME)
    connector = aiohttp.TCPConnector(limit=0)
    async with serving(tmp_path, {"local": engine.host}) as served, aiohttp.ClientSession(connector=connector) as session:
        url = f"http://127.0.0.1:{served.port}/"

        async def ask() -> int:
            async with session.get(url, headers={"Host": HOST}, timeout=aiohttp.ClientTimeout(60)) as answer:
                return answer.status

        found = await asyncio.gather(*(ask() for _ in range(1000)))
        assert found == [200] * 1000


async def until_state(engine: Engine, state: str, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while await asyncio.to_thread(state_of, engine) != state:
            await asyncio.sleep(0.1)


async def test_an_idle_container_is_stopped_and_the_next_request_wakes_it(engine: Engine, tmp_path: Path) -> None:
    await start(engine, idle_timeout="2s", stop_timeout="5s")
    async with serving(tmp_path, {"local": engine.host}) as served:
        await served.answers()
        await until_state(engine, "exited")
        await served.answers()
        assert state_of(engine) == "running"
        await until_state(engine, "exited")
        print(served.log)


async def test_a_request_in_progress_keeps_a_container_awake(engine: Engine, tmp_path: Path) -> None:
    await start(engine, idle_timeout="1s", stop_method="pause")
    async with serving(tmp_path, {"local": engine.host}) as served, aiohttp.ClientSession() as session:
        await served.answers()
        async with session.get(f"http://127.0.0.1:{served.port}/?wait=6", headers={"Host": HOST}) as answer:
            assert answer.status == 200
            assert state_of(engine) == "running"
        await until_state(engine, "paused")
        await served.answers()
