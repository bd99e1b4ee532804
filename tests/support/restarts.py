"""Restarts of pilotage and upgrades of Envoy under load: requests that fail and WebSockets that are cut are counted.

The engine is a fake one in this process. ``pilotage serve``, Envoy and the client that sends the requests are
processes of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
from aiohttp import web

from pilotage.gateway.admin import AdminClient
from pilotage.gateway.adoption import end_kept, read_record
from pilotage.gateway.binary import find_envoy
from pilotage.gateway.launch import ADMIN_SOCKET
from pilotage.gateway.processes import start_time
from pilotage.testing import FakeEngine
from tests.support.daemon_process import HOST, Served
from tests.support.envoy import web_server
from tests.support.envoy_versions import EARLIER, earlier_envoy
from tests.support.load import Answer, failures, load
from tests.support.ports import free_port
from tests.support.serving import add
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

__all__ = ["SCENARIOS", "Outcome", "envoy_killed", "keeping", "run_stop", "upgrade", "with_load"]

DRAIN: Final = 4
_BEAT: Final = 0.2  # seconds between two messages of a WebSocket


class Outcome(msgspec.Struct):
    """What the clients noticed.

    Attributes:
        answers: the responses.
        sockets: number of WebSockets.
        cut: when WebSockets ended that the client did not close, by the monotonic clock in seconds.
        joined: number of WebSockets over which a message has come back.
        events: when something was restarted.

    """

    answers: list[Answer]
    sockets: int
    cut: list[float]
    events: list[float]
    joined: int = 0

    @property
    def failed(self) -> int:
        return failures(self.answers).total()

    @property
    def cut_early(self) -> int:
        """WebSockets that ended before the drain time of the last event was over."""
        early = DRAIN - 0.5
        return sum(not any(at - event >= early for event in self.events) for at in self.cut)


async def _answer(request: web.BaseRequest) -> web.StreamResponse:
    if request.path != "/chat":
        return web.Response(text="hello\n")
    chat = web.WebSocketResponse()
    await chat.prepare(request)
    async for message in chat:
        await chat.send_str(message.data)
    return chat


@contextlib.asynccontextmanager
async def keeping(
    folder: Path, *, keep: bool | str = True, **more: Any
) -> AsyncIterator[tuple[Served, FakeEngine, int]]:
    """Yield a daemon that keeps its Envoy, its engine with the container ``shop``, and the port of that container.

    The daemon has not been started. Its Envoy ends with the block.
    """
    binary = folder / "envoy"
    await asyncio.to_thread(shutil.copy2, find_envoy(), binary)
    gateway = {"drain": f"{DRAIN}s", "keep": keep, "envoy": str(binary), "workers": 2, **more}
    async with web_server(_answer) as upstream, FakeEngine() as engine:
        port = free_port()
        add(engine, "shop", upstream)
        gateway = {"http": f"127.0.0.1:{port}", **gateway}
        served = Served(folder, port, {"providers": {"docker": {"local": engine.url}}, "gateway": gateway})
        try:
            yield served, engine, upstream
        finally:
            await served.stop()
            await end_kept(folder / "api-envoy", 0)


def upgrade(folder: Path) -> None:
    """Let Envoy's binary look like another one."""
    old = (folder / "envoy").stat().st_mtime
    os.utime(folder / "envoy", (old + 1, old + 1))


async def run_stop(folder: Path) -> tuple[int, str]:
    """Run ``pilotage stop`` for :func:`keeping`; return its exit status and its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pilotage", "stop", "--config", f"{folder}/pilotage.yml"),
        *("--api", f"unix://{folder}/api.sock"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def _chat(session: aiohttp.ClientSession, outcome: Outcome, ended: asyncio.Event) -> None:
    """Exchange messages over a WebSocket, and open another when it is cut."""
    while not ended.is_set():
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.ws_connect("/chat", headers={"Host": HOST}) as chat:
                is_new = True
                while not ended.is_set():
                    await chat.send_str("hi")
                    message = await chat.receive(timeout=10)
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        break
                    outcome.joined, is_new = outcome.joined + is_new, False
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(ended.wait(), _BEAT)
        if not ended.is_set():
            outcome.cut.append(time.monotonic())
            await asyncio.sleep(_BEAT)


async def with_load(
    served: Served, event: Callable[[], Coroutine[Any, Any, None]], times: int, *, rate: int, sockets: int, pause: float
) -> Outcome:
    """Let something happen several times while clients send requests and hold WebSockets open."""
    outcome, ended = Outcome([], sockets, [], []), asyncio.Event()
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{served.port}") as session,
        asyncio.TaskGroup() as group,
        load(served.port, HOST, rate=rate) as asked,
    ):
        for _ in range(sockets):
            group.create_task(_chat(session, outcome, ended))
        await until(lambda: outcome.joined >= sockets)
        for _ in range(times):
            outcome.events.append(time.monotonic())
            await event()
            await asked.more(round(rate * pause))
        ended.set()
    outcome.answers = asked.answers
    return outcome


async def _terminated(folder: Path, times: int, rate: int, sockets: int) -> Outcome:
    async with keeping(folder) as (served, _, _):
        await served.start()

        async def event() -> None:
            await served.stop()
            await served.start()

        return await with_load(served, event, times, rate=rate, sockets=sockets, pause=0.5)


async def _killed(folder: Path, times: int, rate: int, sockets: int) -> Outcome:
    async with keeping(folder) as (served, _, _):
        await served.start()

        async def event() -> None:
            await served.kill()
            await served.start()

        return await with_load(served, event, times, rate=rate, sockets=sockets, pause=0.5)


async def _upgraded(folder: Path, times: int, rate: int, sockets: int) -> Outcome:
    async with keeping(folder) as (served, _, _):
        await served.start()

        async def event() -> None:
            await served.stop()
            upgrade(folder)
            await served.start()

        return await with_load(served, event, times, rate=rate, sockets=sockets, pause=DRAIN + 2)


async def _versions(folder: Path, times: int, rate: int, sockets: int) -> Outcome:
    """Start with an earlier version of Envoy, and go from one version to the other and back."""
    async with keeping(folder) as (served, _, _):
        binaries = [await asyncio.to_thread(earlier_envoy), find_envoy()]
        await asyncio.to_thread(_install, binaries[0], folder)
        await served.start()
        found = []

        async def event() -> None:
            await served.stop()
            binaries.reverse()
            await asyncio.to_thread(_install, binaries[0], folder)
            await served.start()
            found.append(await AdminClient(folder / "api-envoy" / ADMIN_SOCKET, 5.0).version())

        outcome = await with_load(served, event, times, rate=rate, sockets=sockets, pause=DRAIN + 2)
        assert EARLIER not in found[::2]
        assert set(found[1::2]) == {EARLIER}
        assert served.log.count("a new Envoy is taking over") == times
    return outcome


def _install(binary: Path, folder: Path) -> None:
    """Replace Envoy's binary, as a package manager does: the file that runs stays."""
    shutil.copy2(binary, folder / "envoy.new")
    (folder / "envoy.new").replace(folder / "envoy")


SCENARIOS: Final = {
    "terminate": ("pilotage is restarted (SIGTERM)", _terminated),
    "kill": ("pilotage is killed (SIGKILL) and started", _killed),
    "upgrade": ("Envoy is upgraded (hot restart)", _upgraded),
    "versions": (f"Envoy is upgraded from {EARLIER}, and back (hot restart)", _versions),
}


class Away(msgspec.Struct, frozen=True):
    """How long a killed Envoy was away, in seconds.

    Attributes:
        took: from the kill to the first response.
        waited: how much of it the new Envoy was ready to run, but no core was free.
        busy: processor time that the new Envoy needed until then.

    """

    took: float
    waited: float
    busy: float


async def envoy_killed(folder: Path, times: int, *, keep: bool, settled: float) -> list[Away]:
    """Kill Envoy each time it has served for some seconds; return how long it was away each time."""
    found = []
    async with keeping(folder, keep=keep) as (served, _, _):
        await served.start()
        for _ in range(times):
            await asyncio.sleep(settled)
            pid = _envoy_of(served)
            began = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            await until(lambda: not start_time(pid))  # noqa: B023  # a zombie counts as gone
            await served.answers()
            found.append(Away(time.monotonic() - began, *_waited_and_busy(_envoy_of(served))))
    return found


def _envoy_of(served: Served) -> int:
    record = read_record(served.folder / "api-envoy")
    return record.pid if record is not None else served.envoys()[0]


def _waited_and_busy(pid: int) -> tuple[float, float]:
    """Return how long a process's first thread waited for a core, and the processor time of all its threads."""
    waited = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return waited, sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
