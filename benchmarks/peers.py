"""pilotage beside Traefik, Caddy, HAProxy and nginx: in one run, on one core, in front of the same containers.

    python benchmarks/peers.py [--full] [PART …]

Parts: ``routes`` and ``deploys``. ``routes`` starts all proxies with the same 1,000 routes (with ``--full`` also with
10,000) and measures requests per second of processor time, the time from a change to the first response with 200,
memory, and processor time while nothing happens. ``deploys`` counts the requests that fail while real containers are
replaced and restarted. ``peer_proxies.py`` says how each proxy is configured. A proxy that cannot be installed is left
out. The load is bounded: 64 connections for a few seconds, or 50 requests a second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
from peer_proxies import PEERS, Peer, Site, Targets, available, labels, tree, version
from support import busy, free_port, host_of, memory, ms, quantile, row, running

sys.path.insert(0, str(Path(__file__).parents[1]))

from pilotage.testing import FakeEngine
from tests.support import deployments
from tests.support.engines import Engine, own_docker
from tests.support.install import debian_packages
from tests.support.load import Load, failures, load
from tests.support.service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from multiprocessing.connection import Connection

_LOAD_CORE: Final = 1
_ADDRESSES: Final = 250
_HOST: Final = "shop.example.com"
_PATIENCE: Final = 120.0


class Running(msgspec.Struct, frozen=True):
    """A proxy that runs."""

    peer: Peer
    site: Site

    def spent(self) -> float:
        """Return its processor time so far, in seconds."""
        return sum(map(busy, tree(self.site.pid)))

    def memory(self) -> float:
        """Return its memory, in MiB."""
        return sum(map(memory, tree(self.site.pid)))


class Size(msgspec.Struct, frozen=True):
    """How much is measured."""

    counts: tuple[int, ...]
    turns: int
    seconds: int
    changes: int
    idle: int
    deploys: int


# ---- targets and their engine ----------------------------------------------------------------------------------------


def _address(number: int) -> str:
    return f"127.88.1.{number % _ADDRESSES + 1}"


def _be_engine(count: int, port: int, pipe: Connection) -> None:
    async def main() -> None:
        async with FakeEngine() as engine:
            for number in range(count):
                add(engine, number)
            pipe.send(engine.url)
            while number := await asyncio.get_running_loop().run_in_executor(None, pipe.recv):
                add(engine, number)

    def add(engine: FakeEngine, number: int) -> None:
        name = f"app-{number}"
        engine.add(name, labels=labels(name, host_of(number), port), ip=_address(number), ports=(port,))

    asyncio.run(main())


@contextlib.contextmanager
def _engine(count: int, port: int) -> Iterator[tuple[str, Connection]]:
    """Run a fake engine in a separate process; yield its URL, and a pipe for the numbers of further containers."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_be_engine, args=(count, port, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv(), ours
    finally:
        process.terminate()
        process.join(10)


@contextlib.asynccontextmanager
async def _web(folder: Path, port: int) -> AsyncIterator[None]:
    """Run the web server behind the proxies, nginx, on the addresses of all containers."""
    listen = " ".join(f"listen {_address(number)}:{port};" for number in range(_ADDRESSES))
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr error;\n"
        "events { worker_connections 8192; }\n"
        f"http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/body;\n"
        f'server {{ {listen} location / {{ return 200 "hello\\n"; }} }} }}\n'
    )
    async with running(folder, "nginx", "-e", f"{folder}/log", "-c", f"{folder}/nginx.conf", core=_LOAD_CORE):
        yield


# ---- requests --------------------------------------------------------------------------------------------------------


async def _status(port: int, host: str) -> int:
    """Return the status of a request over a new connection; 0 if there is no response."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
        return int(line[9:12] or b"0")
    except (OSError, ValueError):
        return 0
    finally:
        writer.close()


async def _until_served(proxy: Running, host: str) -> float:
    """Return the time at which a host answers 200, by the monotonic clock."""
    end = time.monotonic() + _PATIENCE
    while await _status(proxy.site.port, host) != 200:
        if time.monotonic() > end:
            log = (proxy.site.folder / "log").read_text(errors="replace")[-500:]
            raise SystemExit(f"{proxy.peer.name} does not serve {host}: {log}")
        await asyncio.sleep(0.002)
    return time.monotonic()


async def _requests(proxy: Running, seconds: int) -> float:
    """Return the number of requests per second of processor time."""
    before = proxy.spent()
    process = await asyncio.create_subprocess_exec(
        *("taskset", "-c", str(_LOAD_CORE), "wrk", "-t1", "-c64", f"-d{seconds}s"),
        *("-H", f"Host: {host_of(7)}", f"http://127.0.0.1:{proxy.site.port}/"),
        stdout=asyncio.subprocess.PIPE,
    )
    printed = (await process.communicate())[0].decode()
    count = re.search(r"(\d+) requests in", printed)
    if count is None or "Non-2xx" in printed:
        raise SystemExit(f"{proxy.peer.name} did not answer as expected: {printed}")
    return int(count[1]) / (proxy.spent() - before)


# ---- routes ----------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _proxies(folder: Path, peers: list[Peer], engine: str, targets: Targets) -> AsyncIterator[list[Running]]:
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for peer in peers:
            place = folder / peer.name
            place.mkdir()
            site = Site(place, free_port(), engine, targets)
            site.pid = await stack.enter_async_context(running(place, *peer.command(site)))
            found.append(Running(peer, site))
        yield found


async def _measure_routes(folder: Path, peers: list[Peer], count: int, size: Size) -> None:
    port = free_port()
    targets = {host_of(number): [(_address(number), port)] for number in range(count)}
    (folder / "web").mkdir()
    with _engine(count, port) as (url, pipe):
        async with _web(folder / "web", port), _proxies(folder, peers, url, targets) as proxies:
            for proxy in proxies:
                await _until_served(proxy, host_of(count - 1))
            rates: dict[str, list[float]] = {proxy.peer.name: [] for proxy in proxies}
            for turn in range(size.turns + 1):
                for proxy in proxies:
                    rate = await _requests(proxy, size.seconds)
                    if turn:  # the first one warms up
                        rates[proxy.peer.name].append(rate)
            used = {proxy.peer.name: proxy.memory() for proxy in proxies}
            await asyncio.sleep(2)
            before = {proxy.peer.name: proxy.spent() for proxy in proxies}
            await asyncio.sleep(size.idle)
            idle = {proxy.peer.name: (proxy.spent() - before[proxy.peer.name]) / size.idle for proxy in proxies}
            changes = await _measure_changes(proxies, pipe, targets, port, size.changes)
    print(f"\n{count:,} routes; {size.turns} turns of {size.seconds} s, {size.changes} changes, {size.idle} s idle\n")
    row(
        "proxy",
        "requests per CPU second",
        "to pilotage",
        "change → 200, p50 / max",
        "to pilotage",
        "memory",
        "idle CPU",
    )
    row(*["---"] * 7)
    ours = PEERS[0].name
    for proxy in proxies:
        name = proxy.peer.name
        ratio = quantile((a / b for a, b in zip(rates[name], rates[ours], strict=True)), 0.5)
        p50 = quantile(changes[name], 0.5)
        row(
            f"{name} {version(proxy.peer)}",
            f"{quantile(rates[name], 0.5):,.0f}",
            f"{ratio:.2f}",
            f"{ms(p50)} / {ms(max(changes[name]))}",
            f"{p50 / quantile(changes[ours], 0.5):.1f}",
            f"{used[name]:.0f} MiB",
            f"{idle[name]:.2%}",
        )


async def _measure_changes(
    proxies: list[Running], pipe: Connection, targets: Targets, port: int, changes: int
) -> dict[str, list[float]]:
    """Add containers one by one; return the seconds until each proxy serves them, by its name.

    The time begins when the container starts, or, for a proxy that does not discover, when its configuration is handed
    over. Proxies that discover are measured together, the others in turn.
    """
    found: dict[str, list[float]] = {proxy.peer.name: [] for proxy in proxies}
    for _ in range(changes):
        number = len(targets)
        host = host_of(number)
        targets[host] = [(_address(number), port)]
        discovering = [proxy for proxy in proxies if proxy.peer.discovers]
        began = time.monotonic()
        pipe.send(number)
        for proxy, at in zip(
            discovering, await asyncio.gather(*(_until_served(proxy, host) for proxy in discovering)), strict=True
        ):
            found[proxy.peer.name].append(at - began)
        for proxy in proxies:
            if not proxy.peer.discovers:
                began = time.monotonic()
                await proxy.peer.change(proxy.site, host)
                found[proxy.peer.name].append(await _until_served(proxy, host) - began)
        await asyncio.sleep(0.5)
    return found


# ---- deployments -----------------------------------------------------------------------------------------------------


async def _generate(engine: Engine, proxies: list[Running], targets: Targets) -> None:
    """Configure the proxies that do not discover: after each event, list the containers and hand over what runs."""
    socket = engine.host.removeprefix("unix://")
    session = aiohttp.ClientSession(
        "http://docker", connector=aiohttp.UnixConnector(socket), timeout=aiohttp.ClientTimeout(None)
    )
    async with session:
        events = {"filters": '{"type":["container"],"event":["start","die"]}'}
        async with session.get("/events", params=events) as answer:
            async for _ in answer.content:
                async with session.get("/containers/json") as listed:
                    containers = await listed.json()
                targets[_HOST] = [
                    (network["IPAddress"], 80)
                    for container in containers
                    if container["Labels"].get("proxy.aliases") == "shop"
                    for network in container["NetworkSettings"]["Networks"].values()
                ]
                for proxy in proxies:
                    await proxy.peer.change(proxy.site)


async def _start_first(service: Service, loads: list[Load], times: int) -> None:
    for _ in range(times):
        await service.start()
        await asyncio.sleep(1)  # as a deployment tool that waits for a health check
        await service.stop()
        await asyncio.gather(*(one.more(50) for one in loads))


async def _stop_first(service: Service, loads: list[Load], times: int) -> None:
    for _ in range(times):
        await service.stop()
        await service.start()
        await asyncio.gather(*(one.more(50) for one in loads))


async def _restart(service: Service, loads: list[Load], times: int) -> None:
    for _ in range(times):
        await asyncio.to_thread(service.engine.docker, "restart", "-t", "20", service.running[0])
        await asyncio.gather(*(one.more(50) for one in loads))


_DEPLOYS: Final[dict[str, tuple[Any, float]]] = {
    "new container first, then the old one stops": (_start_first, 1.0),
    "old container stops, then the new one starts": (_stop_first, 0.0),
    "docker restart": (_restart, 0.0),
}


async def _measure_deploys(folder: Path, peers: list[Peer], engine: Engine, times: int) -> None:
    print(f"\nfailed of all requests; each deployment {times} times, 50 requests a second through each proxy\n")
    row("deployment", *(peer.name for peer in peers))
    row(*["---"] * (len(peers) + 1))
    for number, (what, (deploy, linger)) in enumerate(_DEPLOYS.items()):
        service = Service(engine, end=deployments.CLOSES, linger=linger, labels=labels("shop", _HOST, 80))
        place = folder / f"deploy-{number}"
        place.mkdir()
        targets: Targets = {_HOST: []}
        with engine.scope():
            async with (
                _proxies(place, peers, engine.host, targets) as proxies,
                contextlib.AsyncExitStack() as stack,
            ):
                others = [proxy for proxy in proxies if not proxy.peer.discovers]
                for proxy in others:
                    while not await _status(proxy.site.port, _HOST):  # another process
                        await asyncio.sleep(0.05)
                generating = asyncio.create_task(_generate(engine, others, targets))
                await service.start()
                for proxy in proxies:
                    await _until_served(proxy, _HOST)
                loads = [await stack.enter_async_context(load(it.site.port, _HOST, rate=50)) for it in proxies]
                await deploy(service, loads, times)
                await stack.aclose()
                generating.cancel()
        row(what, *(f"{failures(one.answers).total()} of {len(one.answers):,}" for one in loads))


def _check() -> None:
    if not {0, _LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("This needs two cores: the proxies have one, the load the other.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[[], "routes", "deploys"])
    parser.add_argument("--full", action="store_true", help="also 10,000 routes, and more of everything")
    parser.add_argument("--only", nargs="*", default=[], metavar="PROXY", help="leave out all others but pilotage")
    asked = parser.parse_args()
    _check()
    debian_packages({"wrk": "wrk", "nginx": "nginx", "taskset": "util-linux"})
    size = Size((1_000, 10_000), 3, 3, 10, 20, 5) if asked.full else Size((1_000,), 2, 2, 5, 5, 2)
    peers = [peer for peer in available() if not asked.only or peer.name in (PEERS[0].name, *asked.only)]
    parts = asked.parts or ["routes", "deploys"]
    with tempfile.TemporaryDirectory(prefix="peers-") as temporary:
        folder = Path(temporary)
        if "routes" in parts:
            for count in size.counts:
                (folder / str(count)).mkdir()
                asyncio.run(_measure_routes(folder / str(count), peers, count, size))
        if "deploys" in parts:
            engine = own_docker()
            try:
                asyncio.run(_measure_deploys(folder, peers, engine, size.deploys))
            finally:
                engine.close()


if __name__ == "__main__":
    main()
