"""Deployments under load: real containers are replaced, scaled, recreated; engine, daemon and Envoy come and go.

Each scenario takes an engine, a folder and how often, and returns all answers that the load got meanwhile. The daemon
is a process of its own, as is the load.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import yaml

from pilotage.gateway.binary import find_envoy
from pilotage.testing import FakeEngine
from tests.support.envoy import web_server
from tests.support.images import GRACEFUL
from tests.support.load import Answer, load
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.support.engines import Engine

__all__ = [
    "CLOSES",
    "DEAF",
    "LIVE_RESTORE",
    "Served",
    "Service",
    "daemon_restarted",
    "engine_restarted",
    "envoy_killed",
    "long_requests",
    "recreated",
    "replaced",
    "scaled",
    "serving",
]

HOST: Final = "shop.example.com"

CLOSES: Final = "closes"
DEAF: Final = "deaf"

LIVE_RESTORE: Final = ("--live-restore",)
"""Options for dockerd, with which containers outlive it."""

_APP: Final = Path(__file__).with_name("app.py")


# ---- the daemon ------------------------------------------------------------------------------------------------------


class Served:
    """A ``pilotage serve`` that can be stopped and started again.

    Attributes:
        folder: holds its configuration, its log and its API's socket.
        port: where its Envoy answers, or the Envoy elsewhere.

    """

    def __init__(self, folder: Path, port: int, configuration: Mapping[str, Any], *options: str) -> None:
        self.folder = folder
        self.port = port
        self._file = folder / "pilotage.yml"
        self._file.write_text(yaml.safe_dump(dict(configuration)))
        self._options = options
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the daemon has said."""
        return (self.folder / "log").read_text(errors="replace")

    async def start(self) -> None:
        """Start it, and return when it serves its first table."""
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "pilotage", "serve", "--config", str(self._file)),
                *("--api", f"unix://{self.folder}/api.sock", *self._options),
                env={name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")},
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            if not await self._process.stdout.readline():
                raise AssertionError(f"it does not serve: {self.log}")

    async def stop(self) -> None:
        """End it in good order."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.communicate()
            assert "Traceback" not in self.log, self.log
            self._process = None

    def envoys(self) -> list[int]:
        """Return the process ids of its children that are an Envoy."""
        children = Path(f"/proc/{self.pid}/task").glob("*/children")
        pids = [int(pid) for file in children for pid in file.read_text().split()]
        return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().startswith("envoy")]

    async def answers(self, host: str = HOST, path: str = "/") -> None:
        """Wait until a page of a host is there."""
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while await _status(session, f"http://127.0.0.1:{self.port}{path}", host) != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def _status(session: aiohttp.ClientSession, url: str, host: str = HOST) -> int:
    try:
        async with session.get(url, headers={"Host": host}, timeout=aiohttp.ClientTimeout(2)) as answer:
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0


@contextlib.asynccontextmanager
async def serving(folder: Path, engines: Mapping[str, str]) -> AsyncIterator[Served]:
    """Serve the containers of engines, name -> URL. Envoy's access log is in ``access.log`` of the folder."""
    port = free_port()
    gateway = {"http": f"127.0.0.1:{port}", "access_log": str(folder / "access.log"), "workers": 2}
    served = Served(folder, port, {"providers": {"docker": dict(engines)}, "gateway": gateway})
    await served.start()
    try:
        yield served
    finally:
        await served.stop()


@contextlib.asynccontextmanager
async def serving_elsewhere(folder: Path, engines: Mapping[str, str]) -> AsyncIterator[Served]:
    """Lead an Envoy that is nobody's child, as those of a fleet are."""
    port, xds = free_port(), f"127.0.0.1:{free_port()}"
    gateway = {"http": f"127.0.0.1:{port}", "access_log": str(folder / "access.log"), "xds": {"listen": xds}}
    served = Served(folder, port, {"providers": {"docker": dict(engines)}, "gateway": gateway}, "--no-gateway")
    printing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pilotage", "envoy-bootstrap", xds, "--node", "edge"), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await printing.communicate()
    (folder / "envoy.json").write_bytes(printed)
    with (folder / "envoy.log").open("wb") as log:
        envoy = await asyncio.create_subprocess_exec(
            *(str(find_envoy()), "-c", "envoy.json", "--use-dynamic-base-id", "--concurrency", "2"),
            *("-l", "warning"),
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        await served.start()
        yield served
    finally:
        await served.stop()
        envoy.kill()
        await envoy.wait()


# ---- the containers --------------------------------------------------------------------------------------------------


def run_app(
    engine: Engine, name: str, labels: Mapping[str, str] | None = None, end: str = CLOSES, linger: float = 5
) -> None:
    """Start a container with :mod:`tests.support.app`, which runs on the Python of this machine."""
    places = dict.fromkeys(path for path in (sys.base_prefix, "/usr", "/lib", "/lib64") if Path(path).exists())
    mounts = [f"{path}:{path}:ro" for path in places] + [f"{_APP}:/app.py:ro"]
    options = [option for mount in mounts for option in ("-v", mount)]
    python = str(Path(sys.executable).resolve())
    command = (python, "-I", "-S", "/app.py", name, end, f"{linger}")
    engine.run(name, GRACEFUL, labels, *options, command=command)


class Service:
    """Containers that answer for one alias, each of which answers with its name.

    Args:
        engine: where they run.
        end: what a container does when it is told to stop, ``CLOSES`` or ``DEAF``: see :mod:`tests.support.app`.
        linger: how many seconds after that it ends.
        labels: more labels.
        compose: they are of Compose, which makes replicas of them; else they are containers that want the same alias.

    """

    def __init__(
        self,
        engine: Engine,
        *,
        end: str = CLOSES,
        linger: float = 5,
        labels: Mapping[str, str] | None = None,
        compose: bool = True,
    ) -> None:
        self.engine = engine
        self.running: list[str] = []
        self._end, self._linger = end, linger
        self._labels = {"proxy.aliases": "shop", **(labels or {})}
        if compose:
            self._labels |= {"com.docker.compose.project": "shop", "com.docker.compose.service": "shop"}
        self._number = 0

    async def start(self) -> str:
        """Start one more, and return its name once its server answers: what a deployment waits for."""
        self._number += 1
        name = f"pilotage-shop-{self._number}"
        await asyncio.to_thread(run_app, self.engine, name, self._labels, self._end, self._linger)
        networks = (await asyncio.to_thread(self.engine.inspect, name))["NetworkSettings"]["Networks"]
        (address,) = (network["IPAddress"] for network in networks.values())
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while await _status(session, f"http://{address}/") != 200:  # noqa: ASYNC110  # its server takes its time
                await asyncio.sleep(0.01)
        self.running.append(name)
        return name

    async def stop(self, name: str = "") -> None:
        """Stop one, the oldest by default, and remove it when it has ended."""
        name = name or self.running[0]
        self.running.remove(name)
        await asyncio.to_thread(self.engine.docker, "stop", "-t", "20", name)
        await asyncio.to_thread(self.engine.rm, name)

    async def scale(self, number: int) -> None:
        """Start or stop, the newest first, until there are so many."""
        missing = number - len(self.running)
        if missing > 0:
            await asyncio.gather(*(self.start() for _ in range(missing)))
        else:
            await asyncio.gather(*map(self.stop, self.running[number:]))


# ---- what happens ----------------------------------------------------------------------------------------------------


async def replaced(
    engine: Engine, folder: Path, times: int, *, end: str = CLOSES, linger: float = 5, compose: bool = True
) -> list[Answer]:
    """A container is replaced, the new one first."""
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
    """Three containers become one, and three again."""
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
    """The only container is stopped and removed, and after a gap there is a new one; the route has ``hold: 5s``."""
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


async def engine_restarted(engine: Engine, folder: Path, times: int) -> list[Answer]:
    """The engine is stopped and started with ``live-restore``: its containers go on. It is one of the caller's own."""
    assert engine.daemon is not None
    service = Service(engine)
    async with serving(folder, {"local": engine.host}) as served:
        await service.start()
        await served.answers()
        async with load(served.port, HOST) as asked:
            for _ in range(times):
                # In this thread: with the one that starts it, the kernel would end the engine.
                engine.daemon.stop()
                await until(lambda: _is_away(served))
                engine.daemon.start()
                await until(lambda: not _is_away(served))
                await asked.more()
    return asked.answers


def _is_away(served: Served) -> bool:
    return served.log.rfind("engine local is away") > served.log.rfind("engine local is there")


async def daemon_restarted(engine: Engine, folder: Path, times: int, *, linger: float = 5) -> list[Answer]:
    """The daemon is stopped, one of two containers is replaced meanwhile, the daemon is started: Envoy goes on."""
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
    """Envoy is killed, each time after it has run for so many seconds."""
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
    """What became of the requests that lasted.

    Attributes:
        said, heard: what was told to WebSockets, and how much of it came back as it was.
        open: how many of the WebSockets were open to the end.
        lines: lines of the download, each as it should be.
        whole: the download came to its end.
        changes: route changes meanwhile.

    """

    def __init__(self) -> None:
        self.said = self.heard = self.open = self.lines = self.changes = 0
        self.whole = False


async def long_requests(
    engine: Engine, folder: Path, *, seconds: float = 30, changes: int = 1_000, sockets: int = 5
) -> tuple[Lasting, list[Answer]]:
    """WebSockets are open and a download runs while routes of other containers change; others ask meanwhile."""
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
    """Add and remove containers in turn, the last one added stays; every other one has a cluster of its own."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(changes):
        if number % 2 and number != changes - 1:
            engine.remove(f"other-{number - 1}")
        else:
            name = f"other-{number}"
            labels = {f"proxy.{name}.port": str(target)} | ({f"proxy.{name}.hold": "1s"} if number % 4 else {})
            engine.add(name, ip="127.0.0.1", ports=(target,), labels=labels)
        lasting.changes += 1
        await asyncio.sleep(max(0.0, began + (number + 1) / changes * seconds - loop.time()))
