"""Requests through an agent against direct ones, trouble with an agent under load, and many agents.

    python benchmarks/agents.py [--quick] [--requests NUMBER] [--docker]

A real ``pilotage serve`` with a real Envoy, and agents of ours (``pilotage.testing.FakeAgent``) in front of fake
engines, all on loopback. Only Envoy's CPU time is measured: an agent of GoDoxy takes other time than ours. With
--docker, only the trouble is measured, with an agent in front of a Docker Engine that is started for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from support import busy, memory, ms, quantile, row

from pilotage.config.engines import EngineChoice
from pilotage.daemon.settings import Flags
from pilotage.testing import FakeEngine
from tests.support.agents import AgentCertificates, agent
from tests.support.engines import own_docker
from tests.support.gateway import target
from tests.support.images import GRACEFUL
from tests.support.serving import Served, add, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from pilotage.testing import FakeAgent
    from tests.support.engines import Engine

_CLIENTS: Final = 8


def _pid(served: Served) -> int:
    assert served.daemon.gateway is not None
    return served.daemon.gateway.status.pid


class _Failure(NamedTuple):
    """A request that failed: its status, when it began and ended, and whether pilotage's page said so."""

    status: int
    began: float
    ended: float
    is_ours: bool

    def is_within(self, periods: Iterable[tuple[float, float]]) -> bool:
        """Return whether it was under way in one of these periods."""
        return any(began <= self.ended and self.began <= ended for began, ended in periods)


async def _load(served: Served, host: str, count: int) -> list[_Failure]:
    """Send a number of requests from several clients; return those that failed."""
    found: list[_Failure] = []
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            began = time.perf_counter()
            status, text = await served.ask(host)
            if status != 200:
                found.append(_Failure(status, began, time.perf_counter(), "this service" in text.lower()))

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return found


@contextlib.asynccontextmanager
async def _site(folder: Path, *agents: FakeAgent, local: str = "") -> AsyncIterator[Served]:
    lines = ["providers:", f"  agents: [{', '.join(repr(each.address) for each in agents)}]"]
    if local:
        lines.append(f"  docker: {{local: {local!r}}}")
    (folder / "pilotage.yml").write_text("\n".join(lines) + "\n")
    async with serving(Flags(choice=EngineChoice(config=str(folder / "pilotage.yml"))), folder) as served:
        yield served


async def _costs(folder: Path, count: int) -> None:
    async with (
        FakeEngine() as near,
        FakeEngine() as far,
        agent(far.url, folder, name="far") as (running, _),
        target("web") as web,
    ):
        add(near, "direct", web.port)
        add(far, "through", web.port)
        async with _site(folder, running, local=near.url) as served:
            took: dict[str, list[float]] = {"direct": [], "through": []}
            for _ in range(3):
                for host, found in took.items():
                    await served.answers(host)
                    before = busy(_pid(served))
                    await _load(served, host, count)
                    found.append((busy(_pid(served)) - before) / count)
            direct, through = (min(found) for found in took.values())
            row("Envoy's CPU time for a request, direct", f"{direct * 1e6:.0f} us", "")
            row("  through an agent", f"{through * 1e6:.0f} us, {through / direct:.2f} times", "")
            times = []
            for number in range(20):
                began = time.perf_counter()
                add(far, f"fresh{number}", web.port)
                await served.answers(f"fresh{number}")
                times.append(time.perf_counter() - began)
            text = f"{ms(quantile(times, 0.5))}, worst {ms(max(times))}"
            row("start of a container until its first 200 through an agent", text, "")


class _Replicas:
    """Two replicas of a service behind an agent, in a fake engine."""

    LABELS: Final = {
        "com.docker.compose.project": "p",
        "com.docker.compose.service": "s",
        "proxy.aliases": "shop",
        "proxy.shop.port": "80",
    }

    def __init__(self, engine: FakeEngine, ports: dict[str, int]) -> None:
        self.url = engine.url
        self._engine = engine
        self._ports = ports

    async def start(self, name: str) -> None:
        port = self._ports[name]
        labels = {**self.LABELS, "proxy.shop.port": str(port)}
        self._engine.add(name, networks=(), ports=(f"{port}:{port}",), labels=labels)

    async def redeploy(self, name: str) -> None:
        self._engine.remove(name)
        await self.start(name)


class _RealReplicas(_Replicas):
    """The same in a Docker Engine."""

    def __init__(self, engine: Engine) -> None:
        self.url = engine.host
        self._docker = engine

    async def start(self, name: str) -> None:
        await asyncio.to_thread(self._docker.run, name, GRACEFUL, self.LABELS)

    async def redeploy(self, name: str) -> None:
        await asyncio.to_thread(self._docker.docker, "stop", "-t", "3", name)
        await asyncio.to_thread(self._docker.docker, "rm", name)
        await self.start(name)


@contextlib.asynccontextmanager
async def _replicas(*, real: bool) -> AsyncIterator[_Replicas]:
    if real:
        engine = own_docker()
        try:
            yield _RealReplicas(engine)
        finally:
            engine.clean()
            engine.close()
        return
    async with FakeEngine() as fake, target("one") as one, target("two") as two:
        yield _Replicas(fake, {"one": one.port, "two": two.port})


async def _trouble(folder: Path, count: int, *, real: bool = False) -> None:
    """Count failures while the agent restarts, its certificates are replaced and replicas come and go."""
    made = AgentCertificates()
    async with (
        _replicas(real=real) as replicas,
        agent(replicas.url, folder, certificates=made, name="far") as (running, _),
        _site(folder, running) as served,
    ):

        async def both_ready() -> None:
            async with asyncio.timeout(60):
                while True:
                    route = served.daemon.discovery.table.routes.get("shop")
                    if route is not None and [it.state for it in route.endpoints] == ["ready", "ready"]:
                        return
                    await asyncio.sleep(0.02)

        for name in ("one", "two"):
            await replicas.start(name)
        await served.answers("shop")
        loading = asyncio.create_task(_load(served, "shop", count))
        away: list[tuple[float, float]] = []
        renewed = number = 0
        while not loading.done():
            number += 1
            await asyncio.sleep(0.5)
            await both_ready()
            await replicas.redeploy("one" if number % 2 else "two")
            if number % 4 == 0:
                began = time.perf_counter()
                await running.crash()
                if number % 8 == 0:
                    renewed += 1
                    made = AgentCertificates()
                    running.use(made.server_context(folder), made.for_udp())
                    made.write_zip(folder / "certs" / f"{running.address}.zip")
                await running.listen()
                if number % 8 == 0:
                    await served.answers("shop")  # until pilotage has noticed the new certificates
                away.append((began, time.perf_counter()))
        failures = await loading
    what = f"{count:,} requests, {number} redeployments, {len(away)} restarts of the agent"
    row(f"{what}, {renewed} with new certificates", f"{len(failures)} failed", "")
    total = sum(ended - began for began, ended in away)
    row("  seconds in which the agent or its certificates were away", f"{total:.1f}", "")
    row("  failed while it was not away", str(sum(not each.is_within(away) for each in failures)), "0")
    others = sorted({each.status for each in failures if not each.is_ours or each.status != 503})
    row("  failed otherwise than with pilotage's page and 503", str(others or 0), "0")


async def _many(folder: Path, agents: int, containers: int) -> None:
    async with contextlib.AsyncExitStack() as stack, target("web") as web:
        running = []
        for number in range(agents):
            engine = await stack.enter_async_context(FakeEngine())
            for each in range(containers):
                labels = {f"proxy.a{number}-{each}.port": str(web.port)}
                ports = (f"{web.port}:{web.port}",)
                engine.add(f"a{number}-{each}", networks=(), ports=ports, labels=labels)
            place = folder / str(number)
            place.mkdir()
            made: Any = AgentCertificates()
            one, _ = await stack.enter_async_context(agent(engine.url, place, certificates=made, name=f"n{number}"))
            made.write_zip(folder / "certs" / f"{one.address}.zip")
            running.append(one)
        began, spent = time.perf_counter(), time.process_time()
        async with _site(folder, *running) as served:
            await served.daemon.discovery.ready()
            await served.answers(f"a{agents - 1}-{containers - 1}")
            text = f"{time.perf_counter() - began:.1f} s, of which {time.process_time() - spent:.1f} s of CPU here"
            row(f"{agents} agents with {containers} containers each: start until served", text, "")
            row("  memory of Envoy", f"{memory(_pid(served)):.0f} MiB", "")


async def _main(count: int, load: int, agents: int, containers: int, *, real: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="agents-", dir="/tmp") as name:  # a short path
        if real:
            await _trouble(Path(name), load, real=True)
            return
        folders = [Path(name) / part for part in ("a", "b", "c")]
        for folder in folders:
            folder.mkdir()
        await _costs(folders[0], count)
        await _trouble(folders[1], load)
        await _many(folders[2], agents, containers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--docker", action="store_true")
    given = parser.parse_args()
    if given.quick:
        asyncio.run(_main(1_000, given.requests or 3_000, 5, 20, real=given.docker))
    else:
        asyncio.run(_main(5_000, given.requests or 100_000, 50, 200, real=given.docker))
