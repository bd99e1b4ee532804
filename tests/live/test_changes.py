"""Every change of a container on a real Docker Engine; the live table matches the engine afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import aiohttp

from pilotage import discover
from pilotage.core.errors import EngineError
from pilotage.discovery.timing import Timing
from pilotage.engine.config import DockerProviderConfig
from tests.support.cutter import Cutter
from tests.support.images import GRACEFUL, HEALTH, WEB
from tests.support.leaks import assert_no_leaks
from tests.support.truth import Chronicle, chronicle, settled
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from pilotage.discovery.manager import DiscoveryManager
    from tests.support.engines import Engine


class Live:
    """A Docker Engine with an untouched container, and the changes published about it."""

    def __init__(
        self, engine: Engine, discovery: DiscoveryManager, told: Chronicle, config: DockerProviderConfig
    ) -> None:
        self.engine = engine
        self.discovery = discovery
        self.told = told
        self.config = config

    async def do(self, *command: str) -> None:
        """Run a docker command without blocking the event loop."""
        await asyncio.to_thread(self.engine.docker, *command)

    async def run(self, name: str, image: str = WEB, *options: str, command: tuple[str, ...] = ()) -> None:
        await asyncio.to_thread(self.engine.run, name, image, None, *options, command=command)

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition, patience=20)

    async def settled(self) -> None:
        await settled(self.discovery, self.config)
        assert self.told.untouched(["bystander"])

    def states(self, alias: str) -> list[str]:
        route = self.discovery.table.routes.get(alias)
        return [endpoint.state for endpoint in route.endpoints] if route is not None else []


@contextlib.asynccontextmanager
async def watching(engine: Engine) -> AsyncIterator[Live]:
    await asyncio.to_thread(engine.run, "bystander")
    config = DockerProviderConfig(engine.host, name="real")
    async with assert_no_leaks(), discover([config]) as discovery:
        await discovery.ready()
        async with chronicle(discovery) as told:
            yield Live(engine, discovery, told, config)


async def test_a_container_is_followed_through_its_lifecycle(engine: Engine) -> None:
    async with watching(engine) as live:
        await live.run("mover")
        await live.until(lambda: live.states("mover") == ["ready"])
        await live.do("pause", "mover")
        await live.until(lambda: live.states("mover") == [])
        await live.settled()
        await live.do("unpause", "mover")
        await live.until(lambda: live.states("mover") == ["ready"])
        await live.do("rename", "mover", "moved")
        await live.until(lambda: "moved" in live.discovery.table.routes)
        await live.settled()
        assert "mover" not in live.discovery.table.routes
        await live.do("restart", "moved")
        await live.until(lambda: "draining" in live.told.about("moved"))
        await live.settled()
        assert live.states("moved") == ["ready"]
        await live.do("update", "--cpu-shares", "512", "moved")
        await live.do("exec", "moved", "true")
        await live.do("rm", "-f", "moved")
        await live.until(lambda: "moved" not in live.discovery.table.routes)
        await live.settled()
        assert live.discovery.watcher("real").lists == 1


async def test_joined_and_left_networks_are_followed(engine: Engine) -> None:
    async with watching(engine) as live:
        live.engine.network("zz-front")
        live.engine.network("aa-back")
        await live.run("walker", WEB, "--network", "zz-front")
        await live.until(lambda: live.states("walker") == ["ready"])
        first = live.discovery.table.routes["walker"].host
        await live.do("network", "connect", "aa-back", "walker")
        await live.until(
            lambda: live.discovery.table.routes["walker"].host != first
        )  # the first network by name: aa before zz
        await live.settled()
        await live.do("network", "disconnect", "aa-back", "walker")
        await live.until(lambda: live.discovery.table.routes["walker"].host == first)
        await live.do("network", "disconnect", "zz-front", "walker")
        await live.until(lambda: live.discovery.table.routes["walker"].host != first)
        await live.settled()


async def test_health_changes_are_followed(engine: Engine) -> None:
    async with watching(engine) as live:
        await live.run("patient", HEALTH)
        await live.until(lambda: live.states("patient") == ["waiting"])
        assert live.discovery.table.routes["patient"].serving == ()
        for well, state in ((True, "ready"), (False, "unhealthy"), (True, "ready")):
            await live.do("exec", "patient", "touch" if well else "rm", "/tmp/ok")
            await live.until(lambda state=state: live.states("patient") == [state])  # type: ignore[misc]
            await live.settled()
        assert len(live.discovery.table.routes["patient"].serving) == 1


async def test_a_container_that_runs_out_of_memory_loses_its_route(engine: Engine) -> None:
    async with watching(engine) as live:
        hungry = ("sh", "-c", "sleep 1; x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done")
        await live.run("hungry", WEB, "-m", "16m", command=hungry)
        await live.until(lambda: live.states("hungry") == ["ready"])
        await live.until(lambda: live.states("hungry") == [])
        await live.settled()
        assert live.engine.inspect("hungry")["State"]["ExitCode"] != 0


async def test_a_container_drains_before_it_stops(engine: Engine) -> None:
    async with watching(engine) as live:
        await live.run("polite", GRACEFUL)
        await live.until(lambda: live.states("polite") == ["ready"])
        await live.do("stop", "polite")
        await live.until(lambda: live.states("polite") == [])
        assert live.told.about("polite")[:2] == ["added", "draining"] or "draining" in live.told.about("polite")
        await live.settled()


async def test_containers_in_shared_and_host_networks_are_followed(engine: Engine) -> None:
    async with watching(engine) as live:
        await live.run("owner")
        labels = {"proxy.guest.port": "80", "proxy.aliases": "guest"}
        shared = ("--network", "container:owner")  # the owner already listens on port 80
        await asyncio.to_thread(live.engine.run, "guest", WEB, labels, *shared, command=("sleep", "1000"))
        await live.run("hosted", WEB, "--network", "host", command=("sleep", "1000"))
        await live.until(lambda: live.states("guest") and "hosted" in live.discovery.table.routes)
        assert live.discovery.table.routes["guest"].host == live.discovery.table.routes["owner"].host
        await live.settled()
        await live.do("restart", "owner")
        await live.settled()
        await live.do("rm", "-f", "owner")
        await live.until(lambda: "owner" not in live.discovery.table.routes)
        await live.settled()


async def test_an_alias_moves_to_another_container(engine: Engine) -> None:
    async with watching(engine) as live:
        labels = {"proxy.aliases": "shared"}
        await asyncio.to_thread(live.engine.run, "elder", WEB, labels)
        created = int(time.time())
        await live.until(lambda: int(time.time()) > created)  # engines report creation times in whole seconds
        await asyncio.to_thread(live.engine.run, "younger", WEB, labels)
        await live.until(lambda: live.discovery.table.problems)
        assert live.discovery.table.routes["shared"].container == "elder"
        await live.settled()
        await live.do("kill", "elder")
        await live.until(lambda: live.discovery.table.routes["shared"].container == "younger")
        assert live.discovery.table.problems == ()
        await live.do("start", "elder")
        await live.until(lambda: live.discovery.table.routes["shared"].container == "elder")
        await live.settled()


async def test_five_hundred_containers_are_added_and_removed(engine: Engine) -> None:
    async with watching(engine) as live:
        names = [f"mass{n}" for n in range(500)]
        session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(live.engine.socket, limit=8))

        async def request(method: str, path: str, **how: object) -> None:
            async with session.request(method, f"http://engine{path}", **how) as answer:  # type: ignore[arg-type]
                assert answer.status < 300, await answer.text()

        async with session:
            try:
                async with asyncio.TaskGroup() as group:
                    for name in names:
                        body = {"Image": WEB, "Labels": {"proxy.aliases": f"{name},{name}-too"}}
                        group.create_task(request("POST", f"/containers/create?name={name}", json=body))
                await request("POST", "/containers/mass7/start")
                await live.until(lambda: live.states("mass7") == ["ready"])
                await live.settled()
                assert sum(alias.startswith("mass") for alias in live.discovery.table.routes) == 1000
            finally:
                async with asyncio.TaskGroup() as group:
                    for name in names:
                        group.create_task(request("DELETE", f"/containers/{name}?force=1"))
        await live.settled()
        assert not any(alias.startswith("mass") for alias in live.discovery.table.routes)
        watcher = live.discovery.watcher("real")
        assert watcher.lists == 1
        assert watcher.refreshes <= watcher.events


async def test_cut_connections_under_churn_lose_no_change(engine: Engine, tmp_path: Path) -> None:
    await asyncio.to_thread(engine.run, "bystander")
    async with assert_no_leaks(), Cutter(tmp_path / "cut.sock", engine.socket) as cutter:
        config = DockerProviderConfig(cutter.url, name="real")
        async with discover([config], timing=Timing(pause_after_session=0.1)) as discovery:
            await discovery.ready()
            async with chronicle(discovery) as told:
                live = Live(engine, discovery, told, config)

                async def churn() -> None:
                    for n in range(12):
                        await live.run(f"churn{n}")
                        await live.do("rename", f"churn{n}", f"churned{n}")
                        if n % 3:
                            await live.do("rm", "-f", f"churned{n}")

                churning = asyncio.create_task(churn())
                while not churning.done():
                    await asyncio.wait([churning], timeout=1)
                    cutter.cut()
                await churning
                with contextlib.suppress(EngineError):
                    await live.settled()  # the last cut may hit the comparison
                await live.settled()
                assert discovery.watcher("real").sessions > 2
                for n in range(0, 12, 3):
                    await live.do("rm", "-f", f"churned{n}")
                await live.settled()
