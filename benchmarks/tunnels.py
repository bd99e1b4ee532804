"""Throughput and CPU time of tcp connections and datagrams through an agent's tunnel, and what many clients cost.

    python benchmarks/tunnels.py [--quick]

A real ``pilotage serve`` with a real Envoy in this process; the agent, the servers behind it and the clients are in
processes of their own, whose CPU time is not counted: an agent of GoDoxy takes other time than ours.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from support import busy, memory, row

from pilotage.config.engines import EngineChoice
from pilotage.daemon.settings import Flags
from pilotage.testing import FakeEngine
from tests.support.agents import agent
from tests.support.datagrams import udp_echo
from tests.support.ports import free_port
from tests.support.serving import Served, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PIECE: Final = bytes(256 * 1024)
_MEGABYTE: Final = 1_000_000
_DATAGRAM: Final = bytes(1200)
_IN_FLIGHT: Final = 32


# ---- in other processes


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send as many bytes as the first line says, or count those that follow a line with 0, or only answer a ping."""
    with contextlib.suppress(OSError):
        line = await reader.readline()
        if line == b"ping\n":
            writer.write(b"pong\n")
            await reader.read()
            writer.close()
            return
        count = int(line or b"0")
        for _ in range(count // len(_PIECE)):
            writer.write(_PIECE)
            await writer.drain()
        found = 0
        while not count and (data := await reader.read(1 << 20)):
            found += len(data)
        writer.write(b"%d\n" % found)
        await writer.drain()
        writer.close()


async def _far(folder: Path, ports: dict[str, int]) -> None:
    """Run servers, an agent and two engines until standard input ends.

    Args:
        folder: for the agent's certificates.
        ports: name of a route -> port on which it listens.

    """
    async with (
        await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=2048) as server,
        udp_echo() as echo,
        FakeEngine() as near,
        FakeEngine() as far,
        agent(far.url, folder, name="far") as (running, _),
    ):
        tcp = server.sockets[0].getsockname()[1]
        for name, mine in ports.items():
            scheme, port = ("udp", echo.port) if name.startswith("udp") else ("tcp", tcp)
            labels = {f"proxy.{name}.scheme": scheme, f"proxy.{name}.port": f"{mine}:{port}"}
            labels[f"proxy.{name}.bind"] = "127.0.0.1"
            engine = far if name.endswith("through") else near
            engine.add(name, networks=(), ports=(f"{port}:{port}/{scheme}",), labels=labels)
        print(json.dumps({"agent": running.address, "near": near.url}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def _client(port: int, kind: str, count: int) -> None:
    """Download or upload a number of bytes, or open a number of connections; print the seconds it took."""
    began = time.perf_counter()
    if kind == "open":
        streams, answered = [], 0
        for _ in range(0, count, 25):
            some = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(25)))
            for _, writer in some:
                writer.write(b"ping\n")
            for reader, _ in some:
                answered += await reader.readline() == b"pong\n"
            streams += some
        print(f"{time.perf_counter() - began:.4f}", flush=True)
        print(answered, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        return
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"%d\n" % (count if kind == "download" else 0))
    for _ in range(count // len(_PIECE) if kind == "upload" else 0):
        writer.write(_PIECE)
        await writer.drain()
    if kind == "upload":
        writer.write_eof()
    while await reader.read(1 << 20):
        pass
    writer.close()
    print(f"{time.perf_counter() - began:.4f}", flush=True)


async def _datagrams(port: int, kind: str, count: int) -> None:
    """Send datagrams to an echo server, or one from each of a number of clients; print the seconds it took."""
    loop = asyncio.get_running_loop()
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count if kind == "clients" else 1)]
    for client in clients:
        client.setblocking(False)  # noqa: FBT003
        client.connect(("127.0.0.1", port))
    began, answered = time.perf_counter(), 0

    async def ask(client: socket.socket, number: int) -> int:
        found = 0
        for sent in range(number + min(number, _IN_FLIGHT)):
            if sent < number:
                client.send(_DATAGRAM)
            if sent >= min(number, _IN_FLIGHT):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        found += bool(await loop.sock_recv(client, 1 << 16))
        return found

    if kind == "clients":
        for at in range(0, count, 25):
            answered += sum(await asyncio.gather(*(ask(client, 1) for client in clients[at : at + 25])))
    else:
        answered = await ask(clients[0], count)
    print(f"{time.perf_counter() - began:.4f}", flush=True)
    print(answered, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for client in clients:
        client.close()


class _Child:
    """This program in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(300):
            return (await self.process.stdout.readline()).decode()

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")


@contextlib.asynccontextmanager
async def _child(*command: str) -> AsyncIterator[_Child]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, *command, stdin=pipe, stdout=pipe)
    try:
        yield _Child(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


# ---- what is measured


async def _throughput(served: Served, ports: dict[str, int], megabytes: int) -> None:
    assert served.daemon.gateway is not None
    pid = served.daemon.gateway.status.pid
    for kind in ("download", "upload"):
        for name, port in ports.items():
            before, envoy = time.process_time(), busy(pid)
            async with _child("--client", str(port), kind, str(megabytes * _MEGABYTE)) as child:
                took = float(await child.line())
            ours, theirs = time.process_time() - before, busy(pid) - envoy
            text = f"{megabytes / took:.0f} MB/s; CPU time per GB: Envoy {theirs / megabytes * 1000:.2f} s"
            row(f"{kind}, {name}", f"{text}, pilotage {ours / megabytes * 1000:.2f} s", "")


async def _many(served: Served, ports: dict[str, int], count: int) -> None:
    assert served.daemon.gateway is not None
    for name, port in ports.items():
        before, rss = time.process_time(), _resident()
        async with _child("--client", str(port), "open", str(count)) as child:
            took = float(await child.line())
            answered = (await child.line()).strip()
            spent = (time.process_time() - before) / count * 1000
            text = f"{took:.1f} s, {answered} answered, {spent:.2f} ms of pilotage's CPU time each"
            row(f"{count} connections open at once, {name}", text, "")
            row("  memory of pilotage for each", f"{(_resident() - rss) / count * 1024:.0f} KiB", "")
            child.tell()


async def _udp(served: Served, ports: dict[str, int], count: int, clients: int) -> None:
    assert served.daemon.gateway is not None
    pid = served.daemon.gateway.status.pid
    for name, port in ports.items():
        before, envoy = time.process_time(), busy(pid)
        async with _child("--datagrams", str(port), "flow", str(count)) as child:
            took, answered = float(await child.line()), int(await child.line())
            ours, theirs = (time.process_time() - before) / count * 1e6, (busy(pid) - envoy) / count * 1e6
            child.tell()
        text = (
            f"{answered / took:,.0f} round trips/s, {count - answered} lost; CPU time for each: Envoy {theirs:.0f} us"
        )
        row(f"datagrams of {len(_DATAGRAM):,} bytes, {name}", f"{text}, pilotage {ours:.0f} us", "")
    for name, port in ports.items():
        before, rss = time.process_time(), _resident()
        async with _child("--datagrams", str(port), "clients", str(clients)) as child:
            took, answered = float(await child.line()), int(await child.line())
            spent = (time.process_time() - before) / clients * 1000
            row(
                f"{clients} udp clients, {name}",
                f"{took:.1f} s, {answered} answered, {spent:.2f} ms of CPU time each",
                "",
            )
            row("  memory of pilotage for each", f"{(_resident() - rss) / clients * 1024:.0f} KiB", "")
            child.tell()


def _resident() -> float:
    """Return the memory of this process in MiB."""
    return memory(os.getpid())


async def _main(megabytes: int, count: int, datagrams: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory(prefix="tunnels-", dir="/tmp") as name:  # a short path
        folder, ports = Path(name), {"direct": free_port(), "through": free_port()}
        udp = {"udp-direct": free_port(), "udp-through": free_port()}
        async with _child("--far", name, json.dumps(ports | udp)) as far:
            found = json.loads(await far.line())
            (folder / "pilotage.yml").write_text(
                f"providers: {{agents: [{found['agent']!r}], docker: {{local: {found['near']!r}}}}}\n"
            )
            async with serving(Flags(choice=EngineChoice(config=str(folder / "pilotage.yml"))), folder) as served:
                for port in ports.values():
                    await _listens(port)
                await _throughput(served, ports, megabytes)
                await _many(served, ports, count)
                await _udp(served, udp, datagrams, count // 2)  # Envoy limits a route's clients


async def _listens(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--far", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--datagrams", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--client", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.far:
        asyncio.run(_far(Path(given.far[0]), json.loads(given.far[1])))
    elif given.datagrams:
        asyncio.run(_datagrams(int(given.datagrams[0]), given.datagrams[1], int(given.datagrams[2])))
    elif given.client:
        asyncio.run(_client(int(given.client[0]), given.client[1], int(given.client[2])))
    else:
        asyncio.run(_main(50, 100, 1000) if given.quick else _main(1000, 1000, 50_000))
