"""Deployments under load: what is replaced, scaled and killed, and that nobody who asks notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Final

import aiohttp

from tests.support.images import GRACEFUL
from tests.test_daemon import Served, of, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.engines import Engine

RATE: Final = 200
"""Requests each second."""

# Told to stop, it takes no new connections, and is in no hurry to go: as servers behind a load balancer do it.
_SERVER: Final = (
    "trap 'kill $P; sleep 2; exit 0' TERM; httpd -f -p 80 -h /www & P=$!; while :; do sleep 1 & wait $!; done"
)


class Load:
    """Asks steadily, and counts what came: ``200``, other statuses, names of errors."""

    def __init__(self, served: Served, host: str) -> None:
        self.seen: Counter[str] = Counter()
        self._url = f"http://127.0.0.1:{served.port}/"
        self._host = host
        self._session = served.session

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        async with asyncio.TaskGroup() as group:
            while True:
                sent += 1
                group.create_task(self._ask())
                await asyncio.sleep(max(0.0, began + sent / RATE - loop.time()))

    async def _ask(self) -> None:
        try:
            async with self._session.get(self._url, headers={"Host": self._host}) as answer:
                await answer.read()
                self.seen[str(answer.status)] += 1
        except aiohttp.ClientError as error:
            self.seen[type(error).__name__] += 1

    async def more(self, number: int) -> None:
        """Wait for so many more answers."""
        wanted = self.seen.total() + number
        async with asyncio.timeout(60):
            while self.seen.total() < wanted:  # noqa: ASYNC110  # many tasks count
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def under_load(served: Served, host: str) -> AsyncIterator[Load]:
    load = Load(served, host)
    task = asyncio.create_task(load.run())
    try:
        await load.more(RATE // 2)
        yield load
        await load.more(RATE // 2)
    finally:
        task.cancel()
        await asyncio.wait([task])


class Service:
    """Containers of one Compose service on a real engine."""

    def __init__(self, engine: Engine, served: Served) -> None:
        self.engine = engine
        self.served = served
        self.number = 0

    async def start(self) -> str:
        """Start one more, and return its name once the table has it and it answers: what a deployment waits for."""
        self.number += 1
        name = f"pilotage-shop-{self.number}"
        labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "shop", "proxy.aliases": "shop"}
        await asyncio.to_thread(self.engine.run, name, GRACEFUL, labels, command=("sh", "-c", _SERVER))
        async with asyncio.timeout(30):
            while name not in self.ready():  # noqa: ASYNC110  # the engine takes its time
                await asyncio.sleep(0.01)
            (it,) = (e for e in self.served.daemon.discovery.table.routes["shop"].endpoints if e.container == name)
            while not await _answers(it.host, it.port):  # noqa: ASYNC110  # as does its server
                await asyncio.sleep(0.01)
        return name

    async def stop(self, name: str) -> None:
        await asyncio.to_thread(self.engine.docker, "stop", "-t", "10", name)
        await asyncio.to_thread(self.engine.rm, name)

    def ready(self) -> set[str]:
        route = self.served.daemon.discovery.table.routes.get("shop")
        return {e.container for e in route.endpoints if e.state == "ready"} if route is not None else set()


async def _answers(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionError:
        return False
    writer.close()
    return True


async def answering(served: Served, service: Service) -> None:
    await service.start()
    await served.answers("shop.example.com")


async def test_a_start_first_replacement_loses_nothing(engine: Engine, tmp_path: Path) -> None:
    async with serving(of(engine.host), tmp_path) as served:
        service = Service(engine, served)
        await answering(served, service)
        async with under_load(served, "shop.example.com") as load:
            for _ in range(2):
                old = f"pilotage-shop-{service.number}"
                await service.start()
                await service.stop(old)
        assert set(load.seen) == {"200"}, load.seen


async def test_scaling_up_and_down_loses_nothing(engine: Engine, tmp_path: Path) -> None:
    async with serving(of(engine.host), tmp_path) as served:
        service = Service(engine, served)
        await answering(served, service)
        async with under_load(served, "shop.example.com") as load:
            others = [await service.start(), await service.start()]
            assert len(service.ready()) == 3
            await asyncio.gather(*map(service.stop, others))
        assert set(load.seen) == {"200"}, load.seen
