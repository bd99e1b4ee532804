"""Send requests at a steady rate from a separate process, and record the result of each.

This module is also that process: it prints a line for each response, and exits when its standard input is closed.
Half of the requests reuse connections, half open new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

__all__ = ["RATE", "Answer", "Load", "failures", "load", "percentiles", "silences"]

RATE: Final = 200
"""Requests each second."""

_PATIENCE: Final = 30.0
"""Seconds after which a request counts as unanswered."""

_MOST: Final = 2_000
"""Requests under way at once; further ones wait, so that nothing piles up without end."""

_ROOT: Final = Path(__file__).parents[2]


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Result of one request.

    Attributes:
        at: its start by the machine's monotonic clock, in seconds.
        took: seconds until the response was complete or the request failed.
        what: the status or the error.
        by: the first word of the response: the name of the server.

    """

    at: float
    took: float
    what: str
    by: str = ""

    @property
    def failed(self) -> bool:
        return self.what != "200"


def failures(answers: Iterable[Answer]) -> Counter[str]:
    """Count the failures by kind."""
    return Counter(answer.what for answer in answers if answer.failed)


def percentiles(answers: Iterable[Answer]) -> tuple[float, float, float]:
    """Return the median, 99th percentile and maximum of the response times, in seconds."""
    took = sorted(answer.took for answer in answers)
    cuts = statistics.quantiles(took, n=100)
    return cuts[49], cuts[98], took[-1]


def silences(answers: Iterable[Answer], *, apart: float = 2.0) -> list[tuple[int, float]]:
    """Group failures no further apart than ``gap``; return the size and the duration in seconds of each group."""
    found: list[tuple[int, float]] = []
    first = last = float("-inf")
    for answer in sorted((each for each in answers if each.failed), key=lambda each: each.at):
        if answer.at - last > apart:
            first = answer.at
            found.append((0, 0.0))
        last = answer.at
        found[-1] = (found[-1][0] + 1, last - first)
    return found


class Load:
    """Results so far."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    @property
    def failed(self) -> Counter[str]:
        return failures(self.answers)

    async def more(self, number: int = RATE // 2) -> None:
        """Wait for this many further responses."""
        wanted = len(self.answers) + number
        async with asyncio.timeout(60 + number / RATE):
            while len(self.answers) < wanted:  # noqa: ASYNC110  # another process tells
                await asyncio.sleep(0.01)

    async def answered_by(self, name: str) -> None:
        """Wait for a response from this server."""
        seen = len(self.answers)
        async with asyncio.timeout(60):
            while not any(answer.by == name for answer in self.answers[seen:]):  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)

    async def calm(self, *, rest: float = 1.0) -> None:
        """Wait until a request that starts at least this many seconds from now succeeds without delay."""
        begun = time.monotonic() + rest
        async with asyncio.timeout(60):
            while not any(answer.at > begun and answer.took < 0.5 for answer in self.answers[-RATE:]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def load(port: int, host: str, *, rate: int = RATE) -> AsyncIterator[Load]:
    """Request a host's page on a port of loopback, from half a second before the block to half a second after it.

    On exit, wait for the requests in flight, so every request has a result.
    """
    made = Load()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.load", str(port), host, str(rate)),
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    reading = asyncio.create_task(_read(process, made))
    try:
        await made.more(rate // 2)
        yield made
        await made.more(rate // 2)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(_PATIENCE + 10):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await reading


async def _read(process: asyncio.subprocess.Process, into: Load) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        at, took, what, by = line.decode().rstrip("\n").split("\t")
        into.answers.append(Answer(float(at), float(took), what, by))


# ---- the process that asks -----------------------------------------------------------------------------------------

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Client:
    """Requests one page over reused and new connections. A broken reused connection is a failure, too."""

    def __init__(self, port: int, host: str) -> None:
        self._port = port
        self._request = f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: load\r\n\r\n".encode()
        self._kept: deque[_Connection] = deque()

    async def ask(self, *, fresh: bool) -> tuple[str, str]:
        """Return the status or the error, and the first word of the response."""
        connection: _Connection | None = None
        keep = False
        try:
            async with asyncio.timeout(_PATIENCE):
                connection = self._kept.popleft() if self._kept and not fresh else await self._connect()
                status, keep, body = await self._exchange(*connection)
        except TimeoutError:
            return "no answer", ""
        except ConnectionRefusedError:
            return "refused", ""
        except (OSError, asyncio.IncompleteReadError):
            return "cut off", ""
        finally:
            if connection is not None and keep and not fresh:
                self._kept.append(connection)
            elif connection is not None:
                connection[1].close()
        return status, (body.decode(errors="replace").split() or [""])[0]

    async def _connect(self) -> _Connection:
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, bool, bytes]:
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        length = fields.get("content-length")
        if length is None:
            return "an answer without its length", False, b""
        body = await reader.readexactly(int(length))
        return head.split(" ", 2)[1], fields.get("connection") != "close", body


async def _steadily(port: int, host: str, rate: int) -> None:
    client, slots = _Client(port, host), asyncio.Semaphore(_MOST)

    async def one(*, fresh: bool) -> None:
        async with slots:
            at = time.monotonic()
            what, by = await client.ask(fresh=fresh)
            sys.stdout.write(f"{at:.6f}\t{time.monotonic() - at:.6f}\t{what}\t{by}\n")
            sys.stdout.flush()

    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(sys.stdin, end)
    async with asyncio.TaskGroup() as group:
        began, sent = loop.time(), 0
        while not ended.done():
            group.create_task(one(fresh=bool(sent % 2)))
            sent += 1
            await asyncio.wait([ended], timeout=max(0.0, began + sent / rate - loop.time()))


if __name__ == "__main__":
    asyncio.run(_steadily(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
