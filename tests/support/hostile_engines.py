"""Attack a live table from an engine: ``python -m tests.support.hostile_engines [ATTACK ...]`` prints what it costs.

The hostile engine is a process of its own; another one watches it together with a healthy engine. Printed are the
growth of that process's peak memory, the longest time that its event loop stood still, its CPU time, the lines and
bytes that the daemon would log, how late a change of the healthy engine reaches the table, and what is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import itertools
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pilotage import DockerProviderConfig, discover
from pilotage.daemon import change_log
from pilotage.daemon import logging as logs
from pilotage.testing import FakeEngine, container
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = ["ATTACKS", "run_attack"]

_CHUNK: Final = 2**16
_ROOT: Final = Path(__file__).parents[2]
_COMMAND: Final = (sys.executable, "-m", "tests.support.hostile_engines")

# ---- the hostile engine

_VERSION: Final = {"Version": "28.5.2", "ApiVersion": "1.51", "MinAPIVersion": "1.24"}


class _Response:
    """What one attack answers."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def body(self, data: bytes, *headers: str) -> None:
        fields = "".join(f"{header}\r\n" for header in headers)
        self._writer.write(f"HTTP/1.1 200 OK\r\n{fields}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        await self._writer.drain()

    async def begin(self, *headers: str) -> None:
        fields = "".join(f"{header}\r\n" for header in headers)
        self._writer.write(f"HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n".encode())

    async def chunk(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def silence(self) -> None:
        await asyncio.Event().wait()


def _element(number: int, **more: Any) -> dict[str, Any]:
    networks = {"bridge": {"IPAddress": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}}
    return {
        "Id": f"{number:064x}", "Names": [f"/app{number}"], "Image": "app", "State": "running", "Status": "Up 1 second",
        "Created": number, "Labels": {}, "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
        "NetworkSettings": {"Networks": networks}, **more,
    }  # fmt: skip


def _event(container_id: str, **attributes: str) -> bytes:
    actor = {"ID": container_id, "Attributes": attributes}
    return json.dumps({"Type": "container", "Action": "start", "Actor": actor}).encode() + b"\n"


async def _events_with_new_ids(response: _Response) -> None:
    await response.begin()
    line = _event("%064x", name="job%d", note="x" * 200).decode()
    for start in itertools.count(0, 200):
        await response.chunk("".join([line % (n, n) for n in range(start, start + 200)]).encode())


async def _endless_line(response: _Response) -> None:
    await response.begin()
    await response.chunk(b'{"Type":"container","Action":"')
    while True:
        await response.chunk(b"x" * _CHUNK)


def _only(data: bytes) -> Callable[[_Response], Awaitable[None]]:
    """Return an attack that sends some bytes on the stream, and nothing after them."""

    async def send(response: _Response) -> None:
        await response.begin()
        await response.chunk(data)
        await response.silence()

    return send


async def _foreign_events(response: _Response) -> None:
    await response.begin()
    while True:
        await response.chunk(b'{"stream":"hello"}\n')
        await asyncio.sleep(0.01)


async def _endless_list(response: _Response) -> None:
    await response.begin()
    await response.chunk(b"[")
    elements = b"".join(json.dumps(_element(n)).encode() + b"," for n in range(1000))
    while True:
        await response.chunk(elements)


async def _nested_list(response: _Response) -> None:
    await response.body(b"[" * 100_000 + b"]" * 100_000)


async def _endless_headers(response: _Response) -> None:
    await response.raw(b"HTTP/1.1 200 OK\r\n")
    while True:
        await response.raw(b"".join(b"X-%d: %s\r\n" % (number, b"x" * 4000) for number in range(16)))


def _bomb() -> bytes:
    """Return 150 MiB of spaces in front of an empty list, compressed."""
    return gzip.compress(b" " * 150 * 2**20 + b"[]", 1)


_BOMB = b""


async def _gzip_bomb(response: _Response) -> None:
    await response.body(_BOMB, "Content-Encoding: gzip")


async def _many_containers(response: _Response) -> None:
    await response.body(json.dumps([_element(number) for number in range(100_000)]).encode())


async def _many_mistakes(response: _Response) -> None:
    faulty = {"proxy.web.prot": "80"}
    await response.body(json.dumps([_element(number, Labels=faulty) for number in range(40_000)]).encode())


async def _cut_stream(response: _Response) -> None:
    await response.begin()
    await response.raw(b"0\r\n\r\n")


ATTACKS: Final[dict[str, dict[str, Callable[[_Response], Awaitable[None]]]]] = {
    "events with new ids": {"events": _events_with_new_ids},
    "endless line": {"events": _endless_line},
    "garbage on the stream": {"events": _only(b"\x00\xffgarbage")},
    "foreign objects on the stream": {"events": _foreign_events},
    "half an event": {"events": _only(b'{"Type":"container",')},
    "nested event": {"events": _only(b'{"Type":"container","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")},
    "stream cut at once": {"events": _cut_stream},
    "endless list": {"json": _endless_list},
    "nested list": {"json": _nested_list},
    "gzip bomb": {"json": _gzip_bomb},
    "endless headers": {"json": _endless_headers},
    "100,000 containers": {"json": _many_containers},
    "40,000 faulty labels": {"json": _many_mistakes},
}
"""Attack -> last part of a path -> its response. All other paths are answered as by a healthy engine."""


async def _attack(name: str, socket: str) -> None:
    global _BOMB  # noqa: PLW0603  # made only by the attack that needs it
    behaviour = ATTACKS[name]
    if name == "gzip bomb":
        _BOMB = _bomb()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        response = _Response(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                last = head.split(b" ")[1].partition(b"?")[0].rpartition(b"/")[2].decode()
                if last in behaviour:
                    await behaviour[last](response)
                elif last == "events":
                    await response.begin()
                    await response.silence()
                else:
                    await response.body(json.dumps(_VERSION if last == "version" else []).encode())
        writer.close()

    async with await asyncio.start_unix_server(serve, socket) as server:
        await server.serve_forever()


# ---- the discovery


class _Counter(logging.Handler):
    """Counts what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = self.bytes = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += 1
        self.bytes += len(self.format(record))


async def _watch(socket: str, seconds: float) -> dict[str, Any]:
    counter = _Counter()
    handler = logs.configure_logging("text", "info", io.StringIO())
    logging.getLogger().removeHandler(handler)
    for each in handler.filters:
        counter.addFilter(each)
    logging.getLogger().addHandler(counter)
    worst = 0.0

    async def feel() -> None:
        nonlocal worst
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.002)
            worst = max(worst, time.perf_counter() - before)

    async with FakeEngine([container("web")]) as healthy:
        hostile = DockerProviderConfig(f"unix://{socket}", name="hostile")
        async with discover([DockerProviderConfig(healthy.url, name="ok")]) as discovery:
            await discovery.ready()
            before, cpu = _peak(), time.process_time()
            feeling = asyncio.create_task(feel())

            async def follow() -> None:
                async for update in discovery:
                    change_log.log_changes(update)

            following = asyncio.create_task(follow())
            discovery.add(hostile)

            def problems() -> list[str]:
                return [str(problem) for problem in discovery.table.problems if problem.provider == "hostile"]

            await asyncio.sleep(seconds)
            until = time.monotonic() + 120  # on a busy machine, it takes longer to read enough to refuse it
            while not problems() and time.monotonic() < until:  # noqa: ASYNC110  # nothing reports problems alone
                await asyncio.sleep(0.05)
            healthy.add("late")
            lag = time.perf_counter()
            while "late" not in discovery.table.routes and time.perf_counter() - lag < 20:  # noqa: ASYNC110  # to measure
                await asyncio.sleep(0.001)
            lag = time.perf_counter() - lag
            for task in (feeling, following):
                task.cancel()
            status = discovery.table.engines["hostile"]
            watcher = discovery.watcher("hostile")
            found = problems()
            return {
                "peak growth, MB": round((_peak() - before) / 1024, 1),
                "longest stall, ms": round(worst * 1000),
                "CPU, s": round(time.process_time() - cpu, 1),
                "healthy engine's lag, ms": round(lag * 1000),
                "followed": "late" in discovery.table.routes,
                "log lines": counter.lines,
                "log bytes": counter.bytes,
                "state": status.state,
                "lists": watcher.lists,
                "sessions": watcher.sessions,
                "problems": len(found),
                "first problem": found[0][:160] if found else "",
            }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def run_attack(name: str, seconds: float = 10.0) -> dict[str, Any]:
    """Run one attack for some seconds and return what it cost."""
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/engine.sock"
        engine = subprocess.Popen([*_COMMAND, "--engine", name, socket], cwd=_ROOT)
        try:
            wait_until(Path(socket).exists, lambda: "the hostile engine did not start")
            command = [*_COMMAND, "--watch", socket, str(seconds)]
            found = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600, cwd=_ROOT).stdout
        finally:
            engine.kill()
            engine.wait()
    result: dict[str, Any] = json.loads(found)
    return result


def _rows(names: list[str]) -> Iterator[str]:
    for name in names or ATTACKS:
        try:
            result = run_attack(name)
        except subprocess.SubprocessError as error:
            result = {"failed": str(error)[-200:]}
        yield f"{name}: " + ", ".join(f"{key} {value}" for key, value in result.items())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--engine", name, socket]:
            asyncio.run(_attack(name, socket))
        case ["--watch", socket, seconds]:
            print(json.dumps(asyncio.run(_watch(socket, float(seconds)))))  # noqa: T201
        case names:
            for row in _rows(names):
                print(row, flush=True)  # noqa: T201
