"""DiscoveryManager asks engines only for what the security page lists, and works behind a proxy that allows no more."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pilotage import DockerProviderConfig, Pool, build_table, discover, scan_engine
from pilotage.cli.main import run
from pilotage.testing import FakeEngine, container
from tests.support.socketproxy import socket_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.engines import Engine

ALLOWED = re.compile(r"GET (/_ping|/version|/v1\.\d+/events\?.*|/v1\.\d+/containers/json\?.*)")
INSPECT = re.compile(r"GET /v1\.\d+/containers/[0-9a-f]{64}/json")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, because the length of socket paths is limited."""
    path = Path(tempfile.mkdtemp(prefix="proxy-"))
    yield path
    shutil.rmtree(path)


async def live_life(engine: FakeEngine) -> None:
    """Scan an engine, and watch it while everything happens that can happen to containers."""
    config = DockerProviderConfig(engine.url, name="one")
    async with Pool() as pool:
        await scan_engine(config, pool=pool)
        async with discover([config], pool=pool) as discovery:
            await discovery.ready()
            updates = discovery.subscribe()
            engine.add("new", labels={"proxy.new.port": "81"})
            engine.start("new")
            for happen in (engine.pause, engine.unpause, engine.restart, engine.oom, engine.start, engine.kill):
                happen("new")
            engine.start("new")
            engine.health("new", "healthy")
            engine.rename("new", "newer")
            engine.connect("newer", "net-b")
            engine.remove("newer")
            engine.add("last")
            engine.cut_events()
            await engine.until(lambda: engine.calls["events"] >= 2)
            async with asyncio.timeout(10):
                while "last" not in discovery.table.routes:
                    await anext(updates)


async def test_discovery_makes_no_request_that_the_documentation_does_not_list() -> None:
    async with FakeEngine([container("web"), container("db", image="postgres:17")]) as engine:
        await live_life(engine)
        asked = {f"{method} {target}" for method, target in engine.requests}
    assert [request for request in asked if not ALLOWED.fullmatch(request)] == []
    assert {"version", "events", "list", "list:id"} <= set(engine.calls)


async def test_only_containers_on_the_hosts_network_are_inspected() -> None:
    host = container("host", networks={"host": ""}, network_mode="host", ports=())
    async with FakeEngine([host, container("web")]) as engine, Pool() as pool:
        await scan_engine(DockerProviderConfig(engine.url, name="one"), pool=pool)
        others = [f"{m} {t}" for m, t in engine.requests if not ALLOWED.fullmatch(f"{m} {t}")]
    assert len(others) == 1
    assert INSPECT.fullmatch(others[0])
    assert host.id in others[0]


def test_ps_routes_and_explain_work_behind_a_proxy_that_allows_no_more(
    engine: Engine, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.run("shop", "pilotage/web:1", {"proxy.shop.port": "8080"})
    engine.run("on-host", "pilotage/web:1", {}, "--network", "host")
    with socket_proxy(folder, engine.socket) as url:
        for command in (["ps"], ["routes"], ["explain", "shop"]):
            status = run([*command, "--strict", "--engine", f"local={url}"])
            said = capsys.readouterr()
            assert "shop" in said.out
            assert "Traceback" not in said.out + said.err
            assert status == (0 if command[0] == "explain" else 1)  # a refused request is reported as an error
        run(["routes", "--engine", f"local={url}"])
        out = capsys.readouterr().out
    (route,) = [line for line in out.splitlines() if line.startswith("shop ")]
    assert ":8080" in route
    (problem,) = [line for line in out.splitlines() if "on-host" in line and "error" in line]
    assert "403" in problem
    assert "GET /containers/{id}/json" in problem


async def test_the_live_table_holds_behind_a_proxy_that_cuts_silent_streams(engine: Engine, folder: Path) -> None:
    engine.run("shop", "pilotage/web:1", {"proxy.shop.port": "8080"})
    with socket_proxy(folder, engine.socket, silence="1s") as url:
        config = DockerProviderConfig(url, name="local")
        async with asyncio.timeout(30), Pool() as pool, discover([config], pool=pool) as discovery:
            await discovery.ready()
            updates = discovery.subscribe()
            while discovery.watcher("local").sessions < 3:  # noqa: ASYNC110  # the stream was cut twice
                await asyncio.sleep(0.05)
            await asyncio.to_thread(engine.run, "later", "pilotage/web:1", {"proxy.later.port": "81"})
            while "later" not in discovery.table.routes:
                await anext(updates)
            fresh = build_table([await scan_engine(config, pool=pool)])
            while dict(discovery.table.routes) != dict(fresh.routes):
                await anext(updates)
