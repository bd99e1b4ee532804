"""A daemon in the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from typing import TYPE_CHECKING, Any

import aiohttp

from pilotage.config.engines import EngineChoice
from pilotage.daemon.daemon import Daemon
from pilotage.daemon.settings import Flags, build_settings
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from pilotage.testing import FakeEngine

__all__ = ["Served", "add", "configured", "of", "serving"]


class Served:
    """A running daemon, and how to request what it serves."""

    def __init__(self, daemon: Daemon, port: int, session: aiohttp.ClientSession) -> None:
        self.daemon = daemon
        self.port = port
        self.session = session

    async def ask(self, host: str, path: str = "/") -> tuple[int, str]:
        async with self.session.get(f"http://127.0.0.1:{self.port}{path}", headers={"Host": host}) as answer:
            return answer.status, await answer.text()

    async def answers(self, host: str, status: int = 200) -> None:
        """Wait until a host answers 200."""
        async with asyncio.timeout(30):
            while (await self.ask(host))[0] != status:  # noqa: ASYNC110  # it happens in Envoy
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(flags: Flags, folder: Path, **env: str) -> AsyncIterator[Served]:
    """Run a daemon on its own ports; it serves its first table when it is yielded, and shuts down gracefully."""
    with tempfile.TemporaryDirectory(prefix="pilotage-", dir="/tmp") as runtime:
        async with _serving(flags, folder, {"XDG_RUNTIME_DIR": runtime, **env}) as served:
            yield served


@contextlib.asynccontextmanager
async def _serving(flags: Flags, folder: Path, env: Mapping[str, str]) -> AsyncIterator[Served]:
    port = free_port()
    flags = Flags(
        choice=flags.choice, gateway=flags.gateway, port=port, api=flags.api or (f"unix://{folder}/api.sock",)
    )
    ready = asyncio.Event()
    daemon = Daemon(build_settings(flags, env), lambda: build_settings(flags, env), env, lambda _: ready.set())
    task = asyncio.create_task(daemon.run())
    waiting = asyncio.create_task(ready.wait())
    try:
        async with asyncio.timeout(30):
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        async with aiohttp.ClientSession() as session:
            yield Served(daemon, port, session)
    finally:
        waiting.cancel()
        daemon.stop()
        await task


def of(engine: FakeEngine | str, name: str = "local") -> Flags:
    """Return the command line for one engine."""
    url = engine if isinstance(engine, str) else engine.url
    return Flags(choice=EngineChoice(engines=(f"{name}={url}",)))


def add(engine: FakeEngine, name: str, port: int, **more: Any) -> None:
    """Add a container that publishes a web server of this test as its only port."""
    engine.add(name, networks=(), ports=(f"{port}:{port}",), labels={f"proxy.{name}.port": str(port)}, **more)


def configured(*engines: FakeEngine, more: str = "") -> str:
    """Return the text of a configuration file that names these engines."""
    lines = [f"    engine{number}: {engine.url}" for number, engine in enumerate(engines)]
    return "\n".join(["providers:", "  docker:", *lines, more])
