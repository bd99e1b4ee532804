"""Whatever ends while a container sleeps, wakes or falls asleep, nothing stays stuck, on a real engine and Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

import aiohttp
import pytest

from pilotage.gateway.adoption import end_kept
from tests.support.daemon_process import HOST, Served, serving
from tests.support.images import HEALTH
from tests.support.ports import free_port
from tests.support.service import run_app
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.engines import Engine

pytestmark = [pytest.mark.engine]

NAME = "pilotage-crash-web"
_LABELS = {"proxy.aliases": "shop", "proxy.idle_timeout": "1h"}
_LINGER = 4.0
"""Seconds that a stop takes, long enough to interrupt it."""


async def run(engine: Engine, **labels: str) -> None:
    """Start a container whose stop takes a while."""
    given = {f"proxy.{name}": value for name, value in labels.items()}
    await asyncio.to_thread(run_app, engine, NAME, {**_LABELS, **given}, linger=_LINGER)


async def create(engine: Engine) -> None:
    """Create a container that does not run, and whose wake lasts until :func:`heal`."""
    await asyncio.to_thread(engine.create, NAME, HEALTH, {**_LABELS, "proxy.shop.port": "80"})


async def heal(engine: Engine) -> None:
    await asyncio.to_thread(engine.docker, "exec", NAME, "touch", "/tmp/ok")


@contextlib.asynccontextmanager
async def waiting(served: Served, count: int = 5) -> AsyncIterator[list[asyncio.Task[int]]]:
    """Keep requests waiting, and end those that remain."""

    async def ask() -> int:
        try:
            async with session.get(f"http://127.0.0.1:{served.port}/", headers={"Host": HOST}) as answer:
                return answer.status
        except aiohttp.ClientError:
            return 0

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session:
        tasks = [asyncio.create_task(ask()) for _ in range(count)]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def sleep_now(served: Served) -> None:
    """Ask the daemon to put the container to sleep."""
    connector = aiohttp.UnixConnector(f"{served.folder}/api.sock")
    async with aiohttp.ClientSession("http://pilotage", connector=connector) as session:
        async with session.post(f"/v1/containers/{NAME}/sleep") as answer:
            assert answer.status == 202, await answer.text()


async def restart(served: Served) -> None:
    """Kill the daemon and start it again."""
    await served.kill()
    await served.start()


@pytest.mark.parametrize("phase", ["asleep", "ready", "quiescing", "stopping"])
async def test_a_killed_daemon_finds_the_container_again(engine: Engine, tmp_path: Path, phase: str) -> None:
    await run(engine)
    async with serving(tmp_path, {"local": engine.host}) as served:
        await served.answers()
        if phase != "ready":
            await sleep_now(served)
        await served.enters(NAME, phase)
        await restart(served)
        await served.answers()
        await served.enters(NAME, "ready")


async def test_a_daemon_killed_while_it_wakes_a_container_goes_on_with_it(engine: Engine, tmp_path: Path) -> None:
    await create(engine)
    async with serving(tmp_path, {"local": engine.host}) as served:
        async with waiting(served):
            await served.enters(NAME, "waking")
            await restart(served)
        async with waiting(served) as requests:
            await until(lambda: engine.inspect(NAME)["State"]["Running"])
            await heal(engine)
            assert await asyncio.gather(*requests) == [200] * len(requests)


async def test_requests_outlast_restarts_of_the_daemon_in_an_envoy_that_it_keeps(
    engine: Engine, tmp_path: Path
) -> None:
    await create(engine)
    port = free_port()
    gateway = {"http": f"127.0.0.1:{port}", "workers": 2, "keep": True}
    served = Served(tmp_path, port, {"providers": {"docker": {"local": engine.host}}, "gateway": gateway})
    try:
        await served.start()
        for end in (served.kill, served.stop):  # the first wake lasts until the container is healthy
            async with waiting(served) as requests:
                await served.enters(NAME, "waking")
                await end()
                async with waiting(served) as others:  # they come while no daemon runs
                    await served.start()
                    await until(lambda: engine.inspect(NAME)["State"]["Running"])
                    await heal(engine)
                    assert await asyncio.gather(*requests, *others) == [200] * 2 * len(requests), served.log
            await served.enters(NAME, "ready")
            await asyncio.to_thread(engine.docker, "stop", NAME)
            await served.enters(NAME, "asleep")
            await served.accepted("shop", "pilotage")  # until then, requests go to the container and fail
        async with waiting(served) as requests:
            assert await asyncio.gather(*requests) == [200] * len(requests), served.log
    finally:
        await served.stop()
        await end_kept(tmp_path / "api-envoy", 0)


async def test_requests_outlast_the_loss_of_envoy_only_as_failures(engine: Engine, tmp_path: Path) -> None:
    await create(engine)
    async with serving(tmp_path, {"local": engine.host}) as served, waiting(served) as requests:
        await served.enters(NAME, "waking")
        (envoy,) = served.envoys()
        os.kill(envoy, signal.SIGKILL)
        assert await asyncio.gather(*requests) == [0] * len(requests)
        await until(lambda: engine.inspect(NAME)["State"]["Running"])
        await heal(engine)
        await served.answers()


async def test_an_engine_that_restarts_while_a_container_wakes_is_asked_again(
    own_engine: Engine, tmp_path: Path
) -> None:
    await create(own_engine)
    daemon = own_engine.daemon
    assert daemon is not None
    async with serving(tmp_path, {"local": own_engine.host}) as served, waiting(served) as requests:
        await served.enters(NAME, "waking")
        await until(lambda: own_engine.inspect(NAME)["State"]["Running"])
        daemon.stop()  # in this thread: the kernel ends an engine together with the thread that has started it
        daemon.start()
        statuses = set(await asyncio.gather(*requests))
        assert statuses <= {200, 503}, served.log
        answered = asyncio.create_task(served.answers())  # its requests go on after the wait that follows a failure
        await until(lambda: own_engine.inspect(NAME)["State"]["Running"])
        await heal(own_engine)
        await answered


@pytest.mark.parametrize("phase", ["asleep", "waking", "ready", "quiescing", "stopping"])
async def test_a_container_that_is_removed_leaves_nothing_behind(engine: Engine, tmp_path: Path, phase: str) -> None:
    await (create(engine) if phase == "waking" else run(engine))
    async with serving(tmp_path, {"local": engine.host}) as served:
        async with waiting(served) as requests:
            if phase != "waking":
                assert await asyncio.gather(*requests) == [200] * len(requests)
                if phase != "ready":
                    await sleep_now(served)
            await served.enters(NAME, phase)
            await asyncio.to_thread(engine.rm, NAME)
            async with asyncio.timeout(20):
                statuses = set(await asyncio.gather(*requests))
            assert statuses <= ({404, 503} if phase == "waking" else {200}), statuses
        await served.enters(NAME, "")
        await served.answers(status=404)
        await run(engine)
        await served.answers()
