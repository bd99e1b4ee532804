"""``pilotage serve`` as a process of its own, with a configuration file, a real Envoy and the API on a socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp

from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["Command", "pilotage_serve"]


class _Engine(Protocol):
    @property
    def url(self) -> str: ...


class Command:
    """A running ``pilotage serve``.

    Attributes:
        port: where its gateway listens.
        config: its configuration file.
        folder: folder of that file.

    """

    def __init__(self, folder: Path, port: int, api: aiohttp.ClientSession, web: aiohttp.ClientSession) -> None:
        self.folder = folder
        self.config = folder / "pilotage.yml"
        self.port = port
        self._api = api
        self._web = web
        self.process: asyncio.subprocess.Process

    async def ask(self, host: str, path: str = "/") -> tuple[int, str]:
        """Request a page from the gateway; return the status and the body."""
        async with self._web.get(f"http://127.0.0.1:{self.port}{path}", headers={"Host": host}) as answer:
            return answer.status, await answer.text()

    async def status(self, host: str) -> int:
        return (await self.ask(host))[0]

    async def answers(self, host: str, expected: tuple[int, str]) -> None:
        """Wait until a host answers with this status and body."""
        async with asyncio.timeout(60):
            while await self.ask(host) != expected:  # noqa: ASYNC110  # it happens in Envoy
                await asyncio.sleep(0.05)

    async def get(self, path: str) -> Any:
        """Request JSON from the API."""
        async with self._api.get(f"http://localhost{path}") as answer:
            return await answer.json()

    async def problems(self, container: str) -> list[str]:
        """Return the messages of the problems with a container."""
        found = (await self.get("/v1/problems"))["problems"]
        return [problem["message"] for problem in found if problem["container"] == container]

    async def route(self, alias: str) -> dict[str, Any] | None:
        """Return the route of an alias in the table."""
        found: dict[str, Any] | None = (await self.get("/v1/routes"))["routes"].get(alias)
        return found

    async def route_of(self, alias: str, container: str) -> dict[str, Any]:
        """Wait until a container has the route of an alias, served or not, and return it."""
        async with asyncio.timeout(60):
            while (found := await self.route(alias)) is None or found["container"] != container:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return found


@contextlib.asynccontextmanager
async def pilotage_serve(
    folder: Path, *engines: _Engine, config: str = "", options: tuple[str, ...] = ()
) -> AsyncIterator[Command]:
    """Run ``pilotage serve`` for some engines, ``engine0`` and so on.

    Args:
        folder: for its files.
        engines: named in its configuration.
        config: the rest of the configuration.
        options: further options of the command.

    """
    port = free_port()
    lines = [f"    engine{number}: {engine.url}" for number, engine in enumerate(engines)]
    (folder / "pilotage.yml").write_text("\n".join(["providers:", "  docker:", *lines, config]))
    socket = folder / "api.sock"
    env = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    arguments = ["--config", str(folder / "pilotage.yml"), "--port", str(port), "--api", f"unix://{socket}"]
    api = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)))
    async with api, aiohttp.ClientSession() as web:
        made = Command(folder, port, api, web)
        with (folder / "log").open("wb") as log:
            made.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "pilotage",
                "serve",
                *arguments,
                *options,
                cwd=folder,
                env=env,
                stdout=log,
                stderr=log,
            )
        try:
            async with asyncio.timeout(60):
                while not await _is_ready(made):
                    assert made.process.returncode is None, (folder / "log").read_text()
                    await asyncio.sleep(0.05)
            yield made
        finally:
            with contextlib.suppress(ProcessLookupError):
                made.process.terminate()
            await made.process.wait()
        assert "Traceback" not in (folder / "log").read_text()


async def _is_ready(command: Command) -> bool:
    try:
        async with command._api.get("http://localhost/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
