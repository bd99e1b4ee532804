"""Time from the return of `docker start` to the first response through Envoy, with a real engine.

    python benchmarks/container_latency.py [--quick]

The engine is the one of ``PILOTAGE_TEST_ENGINE`` or ``DOCKER_HOST``, else one started as the tests do (root on Debian).
`pilotage serve` runs as a separate process, with a second, fake engine for the other routes. Every other start is
measured at the container's own address: the time that it takes without pilotage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from support import MAY_REACH_TARGETS, Asker, engine, ms, quantile, row, targets

from tests.support.deployments import serving
from tests.support.engines import Engine, named_engine, own_docker
from tests.support.images import WEB
from tests.support.install import DOCKER_PACKAGES, EngineUnavailable, debian_packages

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME: Final = "pilotage-bench"
_HOST: Final = f"{_NAME}.example.com"
_PAUSE: Final = 0.0002
_PATIENCE: Final = 30.0
_GONE: Final = 0.1
"""Seconds until its route is gone, more or less: who asks earlier would wait for a connection to an address no more."""


class _EngineApi:
    """Starts and kills a container over the engine's socket, because the docker CLI would take most of the time."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_unix_connection(self._socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def start(self) -> None:
        await self._ask("POST", "start")

    async def kill(self) -> None:
        """Kill it, and return once it has exited."""
        await self._ask("POST", "kill")
        await self._ask("POST", "wait")

    async def address(self) -> str:
        """Return its current address."""
        answer = json.loads(await self._ask("GET", "json"))
        networks = answer["NetworkSettings"]["Networks"].values()
        found: str = next(network["IPAddress"] for network in networks)
        return found

    async def _ask(self, method: str, what: str) -> bytes:
        async with asyncio.timeout(_PATIENCE):
            return await self._answer(method, what)

    async def _answer(self, method: str, what: str) -> bytes:
        head = f"{method} /containers/{_NAME}/{what} HTTP/1.1\r\nHost: engine\r\nContent-Length: 0\r\n\r\n"
        self._writer.write(head.encode())
        lines = (await self._reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        status = int(lines[0].split()[1])
        if b"transfer-encoding: chunked" in lines:
            body = b""
            while size := int(await self._reader.readline(), 16):
                body += await self._reader.readexactly(size)
                await self._reader.readline()
            await self._reader.readline()
        else:
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            body = await self._reader.readexactly(length)
        if status >= 300:
            raise SystemExit(f"the engine refuses to {what} {_NAME}: {body.decode(errors='replace')}")
        return body


async def _directly(address: str, began: float) -> float:
    """Send requests to a container itself until it responds."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                async with Asker(80, address) as asker:
                    if await asker.status(_HOST) == 200:
                        return time.perf_counter() - began
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(_PAUSE)


async def _starts(api: _EngineApi, asker: Asker, times: int) -> tuple[list[float], list[float]]:
    """Start the container repeatedly; return the times through Envoy and at its own address, in seconds."""
    through: list[float] = []
    directly: list[float] = []
    for number in range(2 * (times + 1)):
        await api.kill()
        await asyncio.sleep(_GONE)
        await asker.until(_HOST, 404)
        await api.start()
        began = time.perf_counter()
        if number % 2:
            address = await api.address()
            directly.append(await _directly(address, began))
            await asker.until(_HOST)
        else:
            await asker.until(_HOST)
            through.append(time.perf_counter() - began)
    return through[1:], directly[1:]  # the first ones warm up


async def _measure(real: Engine, folder: Path, others: int, times: int) -> None:
    with targets() as port, engine(others, port) as url:
        async with (
            serving(folder, {"local": real.host, "others": url}, policy=MAY_REACH_TARGETS) as daemon,
            _EngineApi(real.socket) as api,
            Asker(daemon.port) as asker,
        ):
            await asker.until(_HOST)
            through, directly = await _starts(api, asker, times)
    row(f"started until served, {others:,} other routes: p50 of {times}", ms(quantile(through, 0.5)), "8 ms")
    row("  p99", ms(quantile(through, 0.99)), "25 ms")
    row("  at the container's own address: p50", ms(quantile(directly, 0.5)), "")
    row("  p99", ms(quantile(directly, 0.99)), "")


def _run(real: Engine, counts: Sequence[int], times: int) -> None:
    if not real.socket:
        raise SystemExit(f"the engine must be on a unix socket of this machine, and {real.host} is not")
    row("what", "measured", "aim")
    row("---", "---", "---")
    with real.scope(), tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        real.run(_NAME, WEB, {"proxy.aliases": _NAME})
        for others in counts:
            folder = Path(temporary) / str(others)
            folder.mkdir()
            asyncio.run(_measure(real, folder, others, times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer routes and fewer starts")
    asked = parser.parse_args()
    try:
        real = named_engine()
        if real is None:
            debian_packages(DOCKER_PACKAGES)
            real = own_docker()
    except EngineUnavailable as why:
        raise SystemExit(f"This needs a real engine: {why}") from None
    try:
        _run(real, *(((10, 1_000), 10) if asked.quick else ((10, 10_000), 200)))
    finally:
        real.close()


if __name__ == "__main__":
    main()
