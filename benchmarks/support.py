"""Shared by the gateway's benchmarks: targets, routes to them, an Envoy and its control plane, a client, statistics."""

from __future__ import annotations

import asyncio
import contextlib
import math
import multiprocessing
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
from immutables import Map

sys.path.insert(0, str(Path(__file__).parents[1]))

from pilotage.discovery.update import Update
from pilotage.gateway.binary import find_envoy
from pilotage.gateway.process import Gateway
from pilotage.routes.route import Endpoint, Route
from pilotage.table.diff import diff
from pilotage.table.table import Table
from pilotage.testing import FakeEngine, container
from pilotage.xds.bootstrap import build_bootstrap
from pilotage.xds.filters import CONTROL_CLUSTER
from pilotage.xds.options import GatewayOptions
from pilotage.xds.server import AdsServer
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection

    from pilotage.testing.container import State

__all__ = [
    "MAY_REACH_TARGETS",
    "Asker",
    "Led",
    "admin",
    "answers",
    "busy",
    "engine",
    "free_port",
    "host_of",
    "led",
    "memory",
    "ms",
    "quantile",
    "route",
    "routes",
    "row",
    "running",
    "served",
    "targets",
]

_ADDRESSES: Final = 512
"""So many addresses of loopback answer; routes take turns, so that a new one needs a connection of its own."""

MAY_REACH_TARGETS: Final = ({"who": {}, "may": {"targets": ["127.88.0.0/16"]}},)
"""Rules of a policy that allow containers to have addresses of loopback, which it refuses otherwise."""

ANSWER: Final = b"hello world\n"
_RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Sun, 29 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%b" % (len(ANSWER), ANSWER)
)
"""Has the headers that nginx sends, because the proxy reads each of them."""

_PAUSE: Final = 0.0002
"""Seconds between two looks whether a route answers: what is measured needs the processor, too."""


# ---- what is asked ---------------------------------------------------------------------------------------------------


def _address(number: int) -> str:
    return f"127.88.{number % _ADDRESSES >> 8}.{number & 255}"


class _Hello(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(_RESPONSE * data.count(b"\r\n\r\n"))


async def _serve(port: int, ready: Connection) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(_Hello, [_address(number) for number in range(_ADDRESSES)], port, backlog=1024)
    ready.send(port)
    await loop.run_in_executor(None, ready.recv)


def _targets(port: int, ready: Connection) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    asyncio.run(_serve(port, ready))


@contextlib.contextmanager
def _process(work: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    """Run work in a separate process, and yield the first message that it sends over the pipe, its last argument."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(*arguments, theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(60):
            raise SystemExit(f"{work.__name__} did not start within 60 s")
        yield ours.recv()
    finally:
        process.terminate()
        process.join(10)


@contextlib.contextmanager
def targets() -> Iterator[int]:
    """Run web servers on many addresses of loopback in a separate process, and yield their common port."""
    with _process(_targets, free_port()) as port:
        yield port


def host_of(number: int) -> str:
    """Return the host of a route."""
    return f"app-{number}.example.com"


def route(number: int, port: int, *, service: bool = False) -> Route:
    """Make the route of one container that has no label but its port.

    Args:
        number: distinguishes the route and its application from others.
        port: of :func:`targets`.
        service: whether it belongs to a Compose service, which may get replicas.

    """
    name, identity, address = f"app-{number}", f"{number:064x}", _address(number)
    return Route(
        alias=name,
        provider="local",
        container=name,
        container_id=identity,
        service=("local", f"project-{number // 5}", name) if service else (),
        host=address,
        endpoints=(Endpoint(address, port, name, identity),),
        health_check=True,
        labelled=("port",),
    )


def routes(count: int, port: int, *, service: bool = False) -> dict[str, Route]:
    """Make this many routes, numbered from 0."""
    made = (route(number, port, service=service) for number in range(count))
    return {each.alias: each for each in made}


async def _be_engine(count: int, port: int, composed: bool, sleeping: bool, ready: Connection) -> None:  # noqa: FBT001
    containers = []
    for number in range(count):
        name = f"app-{number}"
        labels = {f"proxy.{name}.port": str(port), "org.opencontainers.image.version": "1.2.3"}
        if composed:
            labels |= {
                "com.docker.compose.project": f"project-{number // 5}",
                "com.docker.compose.service": name,
                "com.docker.compose.container-number": "1",
                "com.docker.compose.oneoff": "False",
            }
        if sleeping:
            labels["proxy.idle_timeout"] = "1h"
        state: State = "exited" if sleeping else "running"
        containers.append(container(name, labels=labels, ip=_address(number), ports=(port,), state=state))
    async with FakeEngine(containers) as engine:
        ready.send(engine.url)
        await asyncio.get_running_loop().run_in_executor(None, ready.recv)


def _engine(count: int, port: int, composed: bool, sleeping: bool, ready: Connection) -> None:  # noqa: FBT001
    asyncio.run(_be_engine(count, port, composed, sleeping, ready))


@contextlib.contextmanager
def engine(count: int, port: int, *, composed: bool = False, sleeping: bool = False) -> Iterator[str]:
    """Run a fake engine with this many containers in a separate process, and yield its URL.

    Args:
        count: number of containers; they have the same hosts as :func:`routes`.
        port: of :func:`targets`.
        composed: whether they belong to Compose services.
        sleeping: whether they are stopped, and woken by a request.

    """
    with _process(_engine, count, port, composed, sleeping) as url:
        yield url


# ---- an Envoy that is led --------------------------------------------------------------------------------------------


class Led:
    """An Envoy with one worker, and its control plane in this process.

    Attributes:
        port: its HTTP port.
        ads: its control plane.
        gateway: supervises it.
        table: the table that it serves.

    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.table = Table()
        self._address = f"unix:{folder}/xds.sock"
        self._options = GatewayOptions(http_address="127.0.0.1", http_port=self.port)
        self.ads = AdsServer(self._options)
        self.gateway = Gateway(build_bootstrap(self._address, "bench"), folder, binary=find_envoy(), workers=1)

    async def start_control_plane(self) -> None:
        """Start a new control plane without the state of the previous one."""
        self.ads = AdsServer(self._options)
        await self.ads.start(self._address)

    def publish_all(self, routes: Mapping[str, Route]) -> None:
        """Publish a table with these routes."""
        self.table = Table(Map(routes), version=self.table.version + 1)
        self.ads.publish(self.table)

    def change(self, put: Iterable[Route] = (), remove: Collection[str] = ()) -> None:
        """Add routes, or remove routes by alias, as discovery does: the cost does not grow with the table."""
        old, now = self.table, self.table.routes
        assert isinstance(now, Map)
        aliases = dict.fromkeys(remove, "")
        with now.mutate() as changing:
            for each in put:
                changing[each.alias] = each
                aliases[each.alias] = ""
            for alias in remove:
                del changing[alias]
            self.table = Table(changing.finish(), version=old.version + 1)
        self.ads.publish(Update(old, self.table, diff(old, self.table, aliases=aliases, keys=())))

    async def wait_for_acks(self, patience: float = 60) -> None:
        """Wait until Envoy has acknowledged everything."""
        async with asyncio.timeout(patience):
            await self.ads.wait_for_acks()

    async def received(self) -> int:
        """Return the number of bytes that Envoy has received from its control plane."""
        name = f"cluster.{CONTROL_CLUSTER}.upstream_cx_rx_bytes_total"
        answer = await admin(self.gateway.admin_socket, f"/stats?format=json&filter=^{name.replace('.', '[.]')}$")
        return sum(stat["value"] for stat in answer["stats"] if stat.get("name") == name)


@contextlib.asynccontextmanager
async def led(folder: Path) -> AsyncIterator[Led]:
    """Run an Envoy with a control plane, without routes."""
    made = Led(folder)
    await made.start_control_plane()
    made.publish_all({})
    running = asyncio.create_task(made.gateway.run())
    ready = asyncio.create_task(made.gateway.ready())
    try:
        await asyncio.wait({running, ready}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        await made.wait_for_acks()
        yield made
    finally:
        ready.cancel()
        await made.gateway.stop()
        await made.ads.close()
        await running


async def admin(path: Path, target: str) -> Any:
    """Return a JSON response of Envoy's admin interface."""
    async with (
        aiohttp.ClientSession("http://envoy", connector=aiohttp.UnixConnector(str(path))) as session,
        session.get(target) as answer,
    ):
        return await answer.json(content_type=None)


@contextlib.asynccontextmanager
async def running(folder: Path, *command: str, core: int | None = None) -> AsyncIterator[int]:
    """Run a program with a folder as its home and for its log, on one core if given; yield its process ID."""
    own = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder), "GOMAXPROCS": "1"}
    pinned = () if core is None else ("taskset", "-c", str(core))
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *pinned, *command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **own}
        )
    try:
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


# ---- who asks --------------------------------------------------------------------------------------------------------


class Asker:
    """Requests pages over one connection without a client library, which would take longer than the response."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._place = (address, port)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(*self._place)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def status(self, host: str) -> int:
        """Request a host's page, and return the status."""
        self._writer.write(_request(host))
        return await self._answer()

    async def statuses(self, hosts: Sequence[str]) -> list[int]:
        """Request many pages, two at a time: Envoy closes connections with more unread responses."""
        found = []
        for start in range(0, len(hosts), 2):
            some = hosts[start : start + 2]
            self._writer.write(b"".join(map(_request, some)))
            found += [await self._answer() for _ in some]
        return found

    async def until(self, host: str, status: int = 200, patience: float = 60) -> None:
        """Repeat the request until it has this status."""
        async with asyncio.timeout(patience):
            while await self.status(host) != status:
                await asyncio.sleep(_PAUSE)

    async def _answer(self) -> int:
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        await self._reader.readexactly(length)
        return int(head[9:12])


def _request(host: str) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: %b\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n" % host.encode()


async def answers(port: int, host: str, folder: Path, patience: float = 20) -> None:
    """Wait until a proxy that has just been started answers 200. If it does not, exit with the end of its log."""
    end = time.monotonic() + patience
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with Asker(port) as asker:
                if await asker.status(host) == 200:
                    return
        if time.monotonic() > end:
            said = (folder / "log").read_text(errors="replace") if (folder / "log").exists() else ""
            raise SystemExit(f"nothing answers on port {port}: {said[-500:]}")
        await asyncio.sleep(0.02)


async def served(askers: Sequence[Asker], hosts: Sequence[str], patience: float = 60) -> None:
    """Wait until every host answers 200, using several clients; the last host is requested first."""

    async def watch(asker: Asker, missing: Sequence[str]) -> None:
        while missing:
            found = await asker.statuses(missing)
            missing = [host for host, status in zip(missing, found, strict=True) if status != 200]

    await askers[0].until(hosts[-1], patience=patience)
    async with asyncio.timeout(patience):
        await asyncio.gather(*(watch(asker, hosts[at :: len(askers)]) for at, asker in enumerate(askers)))


# ---- numbers ---------------------------------------------------------------------------------------------------------


def quantile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that is not exceeded by this share of all values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def ms(seconds: float) -> str:
    """Format a duration in milliseconds."""
    return f"{seconds * 1e3:,.1f} ms"


def row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def busy(pid: int) -> float:
    """Return the processor time used by the threads of a process, in seconds."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def memory(pid: int) -> float:
    """Return the memory of a process (resident set), in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
