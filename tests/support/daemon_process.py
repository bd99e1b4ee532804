"""``pilotage serve`` as a process that a test stops and starts again, with its own Envoy or with one elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import yaml

from pilotage.gateway.binary import find_envoy
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

__all__ = ["HOST", "Served", "another_envoy", "in_another_network", "serving", "serving_elsewhere", "status_of"]

HOST: Final = "shop.example.com"


class Served:
    """A ``pilotage serve`` that can be stopped and started again.

    Attributes:
        folder: its configuration, its log and its API's socket.
        port: the HTTP port of its own Envoy, or of the one elsewhere.

    """

    def __init__(
        self,
        folder: Path,
        port: int,
        configuration: Mapping[str, Any],
        *options: str,
        files: int = 0,
        program: Sequence[str] = ("-m", "pilotage"),
        **env: str,
    ) -> None:
        self.folder = folder
        self.port = port
        self._file = folder / "pilotage.yml"
        self._file.write_text(yaml.safe_dump(dict(configuration)))
        self._options = options
        self._program = program
        self._env = env
        self.prefix: tuple[str, ...] = ("prlimit", f"--nofile={files}:{files}") if files else ()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that the daemon has logged."""
        return (self.folder / "log").read_text(errors="replace")

    async def start(self) -> None:
        """Start it, and return once it serves its first table."""
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*self.prefix, sys.executable, *self._program, "serve", "--config", str(self._file)),
                *("--api", f"unix://{self.folder}/api.sock", *self._options),
                env={name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")} | self._env,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            if not await self._process.stdout.readline():
                raise AssertionError(f"the daemon did not start serving: {self.log}")

    async def stop(self) -> None:
        """Shut it down gracefully."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.communicate()
            assert "Traceback" not in self.log, self.log
            self._process = None

    async def kill(self) -> None:
        """Kill it (SIGKILL)."""
        assert self._process is not None
        self._process.kill()
        await self._process.communicate()
        self._process = None

    async def phase(self, name: str) -> str:
        """Return what a container or alias that sleeps is doing; ``""`` if the daemon knows none of that name."""
        units = (await self.get("/v1/sleep"))["units"]
        return next((str(it["state"]) for it in units if name in {it["container"], *it["aliases"]}), "")

    async def enters(self, name: str, *phases: str) -> None:
        """Wait until a container or alias that sleeps is in one of some phases."""
        try:
            async with asyncio.timeout(60):
                while await self.phase(name) not in phases:  # noqa: ASYNC110  # another process decides
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{name} is in none of {phases}: {await self.get('/v1/sleep')}\n{self.log}") from None

    async def accepted(self, alias: str, node: str) -> None:
        """Wait until an Envoy is connected and has accepted a route."""
        async with asyncio.timeout(60):
            while True:
                routes = (await self.get("/v1/envoys"))["routes"]
                if routes.get(alias, {}).get(node, {}).get("state") == "accepted":
                    return
                await asyncio.sleep(0.02)

    async def post(self, path: str) -> None:
        """Send a command to its API."""
        connector = aiohttp.UnixConnector(f"{self.folder}/api.sock")
        async with aiohttp.ClientSession("http://pilotage", connector=connector) as session:
            async with session.post(path) as answer:
                assert answer.status < 300, await answer.text()

    async def get(self, path: str) -> Any:
        """Return what its API says."""
        connector = aiohttp.UnixConnector(f"{self.folder}/api.sock")
        async with aiohttp.ClientSession("http://pilotage", connector=connector) as session:
            async with session.get(path) as answer:
                return await answer.json()

    def envoys(self) -> list[int]:
        """Return the process IDs of the Envoys among its children."""
        children = Path(f"/proc/{self.pid}/task").glob("*/children")
        pids = [int(pid) for file in children for pid in file.read_text().split()]
        return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().startswith("envoy")]

    async def answers(self, host: str = HOST, path: str = "/", *, status: int = 200) -> None:
        """Wait until a page answers with a status."""
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while await status_of(session, f"http://127.0.0.1:{self.port}{path}", host) != status:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def status_of(session: aiohttp.ClientSession, url: str, host: str = HOST, *, patience: float = 2) -> int:
    """Return the status of a GET request, or 0 if there is no answer within ``patience`` seconds."""
    try:
        async with session.get(url, headers={"Host": host}, timeout=aiohttp.ClientTimeout(patience)) as answer:
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0


@contextlib.asynccontextmanager
async def serving(
    folder: Path, engines: Mapping[str, str], *, policy: Sequence[Mapping[str, Any]] = ()
) -> AsyncIterator[Served]:
    """Serve the containers of engines (name -> URL), with the rules of a policy, if any.

    Envoy writes its access log to ``access.log`` in the folder.
    """
    port = free_port()
    gateway = {"http": f"127.0.0.1:{port}", "access_log": str(folder / "access.log"), "workers": 2}
    configuration: dict[str, Any] = {"providers": {"docker": dict(engines)}, "gateway": gateway}
    served = Served(folder, port, configuration | ({"policy": list(policy)} if policy else {}))
    await served.start()
    try:
        yield served
    finally:
        await served.stop()


@contextlib.asynccontextmanager
async def another_envoy(
    folder: Path, xds: str, *prefix: str, workers: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an Envoy that pilotage has not started, as in a fleet.

    Args:
        folder: the Envoy's configuration and its log.
        xds: the address of the control plane.
        prefix: a command that runs another one.
        workers: its number of threads for requests.

    """
    printing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pilotage", "envoy-bootstrap", xds, "--node", "edge"), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await printing.communicate()
    (folder / "envoy.json").write_bytes(printed)
    command = (str(find_envoy()), "-c", "envoy.json", "--use-dynamic-base-id", "--concurrency", str(workers))
    with (folder / "envoy.log").open("wb") as log:
        envoy = await asyncio.create_subprocess_exec(
            *(*prefix, *command, "-l", "warning"), cwd=folder, stdout=log, stderr=log
        )
    try:
        yield envoy
    finally:
        envoy.kill()
        await envoy.wait()


def in_another_network() -> tuple[str, ...]:
    """Return a prefix that runs a command in a network of its own, where all ports of loopback are free."""
    return ("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")


@contextlib.asynccontextmanager
async def serving_elsewhere(folder: Path, engines: Mapping[str, str]) -> AsyncIterator[Served]:
    """Configure an Envoy that pilotage has not started, as in a fleet."""
    port, xds = free_port(), f"unix://{folder}/xds/ads.sock"
    gateway = {"http": f"127.0.0.1:{port}", "access_log": str(folder / "access.log"), "xds": {"listen": xds}}
    served = Served(folder, port, {"providers": {"docker": dict(engines)}, "gateway": gateway}, "--no-gateway")
    async with another_envoy(folder, xds, workers=2):
        try:
            await served.start()
            yield served
        finally:
            await served.stop()
