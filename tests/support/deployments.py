"""Deployments under load: real containers are replaced, scaled, recreated; engine, daemon and Envoy come and go.

Each scenario takes an engine, a folder and how many times to repeat, and returns all answers that the load received.
The daemon and the load run as processes of their own.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Final

import aiohttp

from pilotage.testing import FakeEngine
from tests.support.daemon_process import HOST, Served, serving, serving_elsewhere, status_of
from tests.support.envoy import web_server
from tests.support.load import Answer, load
from tests.support.service import CLOSES, DEAF, PATIENT, Service, run_app
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Engine

__all__ = [
    "CLOSES",
    "DEAF",
    "LIVE_RESTORE",
    "PATIENT",
    "Served",
    "Service",
    "daemon_restarted",
    "engine_restarted",
    "envoy_killed",
    "long_requests",
    "paused",
    "recreated",
    "replaced",
    "restarted",
    "scaled",
    "serving",
]

LIVE_RESTORE: Final = ("--live-restore",)
"""Options for dockerd that let containers outlive it."""


async def replaced(
    engine: Engine, folder: Path, times: int, *, end: str = CLOSES, linger: float = 5, compose: bool = True
) -> list[Answer]:
    """Replace a container: start the new one, then stop the old one."""
    service = Service(engine, end=end, linger=linger, compose=compose)
    async with serving(folder, {"local": engine.host}) as served:
        await service.start()
        await served.answers()
        async with load(served.port, HOST) as asked:
            for _ in range(times):
                await service.start()
                await service.stop()
    return asked.answers


async def scaled(engine: Engine, folder: Path, times: int, *, linger: float = 5) -> list[Answer]:
    """Scale from three containers to one and back."""
    service = Service(engine, linger=linger)
    async with serving(folder, {"local": engine.host}) as served:
        await service.scale(3)
        await served.answers()
        async with load(served.port, HOST) as asked:
            for _ in range(times):
                await service.scale(1)
                await service.scale(3)
    return asked.answers


async def recreated(engine: Engine, folder: Path, times: int, *, gap: float = 1.0) -> list[Answer]:
    """Stop and remove the only container, and start a new one after a gap; the route has ``hold: 5s``."""
    service = Service(engine, linger=0, labels={"proxy.shop.hold": "5s"})
    async with serving(folder, {"local": engine.host}) as served:
        await service.start()
        await served.answers()
        async with load(served.port, HOST) as asked:
            for _ in range(times):
                await service.stop()
                await asyncio.sleep(gap)
                await asked.answered_by(await service.start())
                await asked.calm()
    return asked.answers


async def restarted(
    engine: Engine, folder: Path, times: int, *, end: str = CLOSES, linger: float = 0, compose: bool = True
) -> list[Answer]:
    """Restart the only container with ``docker restart``; the route sets no ``hold``."""
    service = Service(engine, end=end, linger=linger, compose=compose)
    async with serving(folder, {"local": engine.host}) as served:
        name = await service.start()
        await served.answers()
        async with load(served.port, HOST) as asked:
            for _ in range(times):
                await asyncio.to_thread(engine.docker, "restart", "-t", "20", name)
                await asked.more()
                await asked.calm()
    return asked.answers


async def engine_restarted(engine: Engine, folder: Path, times: int) -> list[Answer]:
    """Restart the engine, which belongs to this test, with ``live-restore``: its containers keep running."""
    assert engine.daemon is not None
    service = Service(engine)
    async with serving(folder, {"local": engine.host}) as served:
        await service.start()
        await served.answers()
        async with load(served.port, HOST) as asked:
            for _ in range(times):
                # In this thread: the kernel ends an engine together with the thread that has started it.
                engine.daemon.stop()
                await until(lambda: _is_away(served))
                engine.daemon.start()
                await until(lambda: not _is_away(served))
                await asked.more()
    return asked.answers


def _is_away(served: Served) -> bool:
    return served.log.rfind("engine local is unreachable") > served.log.rfind("engine local is connected")


async def daemon_restarted(engine: Engine, folder: Path, times: int, *, linger: float = 5) -> list[Answer]:
    """Stop the daemon, replace one of two containers, and start the daemon again, while Envoy keeps running."""
    service = Service(engine, linger=linger)
    async with serving_elsewhere(folder, {"local": engine.host}) as served:
        await service.scale(2)
        await served.answers()
        async with load(served.port, HOST) as asked:
            for _ in range(times):
                await served.stop()
                name = await service.start()
                await service.stop()
                await asked.more()
                assert not any(answer.by == name for answer in asked.answers), "who told Envoy of it?"
                await served.start()
                await asked.answered_by(name)
    return asked.answers


async def envoy_killed(engine: Engine, folder: Path, times: int, *, settled: float = 12.0) -> list[Answer]:
    """Kill Envoy each time it has run for this many seconds."""
    service = Service(engine)
    async with serving(folder, {"local": engine.host}) as served:
        await service.start()
        await served.answers()
        async with load(served.port, HOST) as asked:
            for _ in range(times):
                await asyncio.sleep(settled)
                (pid,) = served.envoys()
                os.kill(pid, signal.SIGKILL)
                await asked.more()
                await served.answers()
    return asked.answers


# ---- requests that last ----------------------------------------------------------------------------------------------


class Lasting:
    """Results of the long requests.

    Attributes:
        said, heard: messages sent over WebSockets, and how many came back unchanged.
        open: number of WebSockets that have been opened.
        lines: correct lines of the download.
        whole: whether the download is complete.
        changes: route changes during the requests.

    """

    def __init__(self) -> None:
        self.said = self.heard = self.open = self.lines = self.changes = 0
        self.whole = False


async def long_requests(
    engine: Engine, folder: Path, *, seconds: float = 30, changes: int = 1_000, sockets: int = 5
) -> tuple[Lasting, list[Answer]]:
    """Keep WebSockets and a download open while other containers' routes change, under the usual load."""
    lasting = Lasting()
    await asyncio.to_thread(run_app, engine, "pilotage-chat", linger=0)
    await asyncio.to_thread(run_app, engine, "pilotage-file", linger=0)
    service = Service(engine)
    await service.start()
    async with (
        web_server() as target,
        FakeEngine() as others,
        serving(folder, {"local": engine.host, "others": others.url}) as served,
        aiohttp.ClientSession(f"http://127.0.0.1:{served.port}", timeout=aiohttp.ClientTimeout(None)) as session,
    ):
        await served.answers()
        await served.answers("pilotage-chat.example.com")
        await served.answers("pilotage-file.example.com")
        done = asyncio.Event()
        async with load(served.port, HOST) as asked, asyncio.TaskGroup() as group:
            for number in range(sockets):
                group.create_task(_chat(session, lasting, done, number))
            group.create_task(_download(session, lasting, int(seconds * 10)))
            await until(lambda: lasting.open == sockets and lasting.lines)
            await _change(others, target, lasting, changes, seconds * 0.9)
            await served.answers(f"other-{changes - 1}.example.com")
            await served.answers("pilotage-file.example.com", path="/enough")
            await until(lambda: lasting.whole)
            done.set()
    return lasting, asked.answers


async def paused(engine: Engine, folder: Path) -> Lasting:
    """Pause a container during a download, resume it once its name answers 404, and wait for the rest."""
    lasting, name = Lasting(), "pilotage-file"
    host = f"{name}.example.com"
    await asyncio.to_thread(run_app, engine, name, linger=0)
    async with (
        serving(folder, {"local": engine.host}) as served,
        aiohttp.ClientSession(f"http://127.0.0.1:{served.port}", timeout=aiohttp.ClientTimeout(None)) as session,
        asyncio.TaskGroup() as group,
    ):
        await served.answers(host)
        group.create_task(_download(session, lasting, 1))
        await until(lambda: lasting.lines)
        await asyncio.to_thread(engine.docker, "pause", name)
        async with asyncio.timeout(60):
            while await status_of(session, "/", host) != 404:  # noqa: ASYNC110  # other processes take part
                await asyncio.sleep(0.01)
        assert not lasting.whole
        await asyncio.to_thread(engine.docker, "unpause", name)
        await served.answers(host, path="/enough")
        await until(lambda: lasting.whole)
    return lasting


async def _chat(session: aiohttp.ClientSession, lasting: Lasting, done: asyncio.Event, number: int) -> None:
    async with session.ws_connect("/chat", headers={"Host": "pilotage-chat.example.com"}) as chat:
        lasting.open += 1
        while not done.is_set():
            lasting.said += 1
            text = f"{number}: {lasting.said}"
            await chat.send_str(text)
            heard = await chat.receive_str(timeout=30)
            lasting.heard += heard == text
            await asyncio.sleep(0.05)


async def _download(session: aiohttp.ClientSession, lasting: Lasting, least: int) -> None:
    async with session.get(f"/download?{least}", headers={"Host": "pilotage-file.example.com"}) as answer:
        async for line in answer.content:
            lasting.lines += line == f"line {lasting.lines}\n".encode()
            lasting.whole = line == b"the end\n"


async def _change(engine: FakeEngine, target: int, lasting: Lasting, changes: int, seconds: float) -> None:
    """Add and remove containers in turn and keep the last; every other one has a cluster of its own."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(changes):
        if number % 2 and number != changes - 1:
            engine.remove(f"other-{number - 1}")
        else:
            name = f"other-{number}"
            labels = {f"proxy.{name}.port": str(target)} | ({f"proxy.{name}.hold": "1s"} if number % 4 else {})
            engine.add(name, networks=(), ports=(f"{target}:{target}",), labels=labels)
        lasting.changes += 1
        await asyncio.sleep(max(0.0, began + (number + 1) / changes * seconds - loop.time()))
