"""A live table whose configuration changes: what it watches, and what stays in the table meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pilotage import discover
from pilotage.core.errors import ConfigError
from pilotage.engine.config import DockerProviderConfig
from pilotage.policy import Policy, PolicyRule
from pilotage.testing import FakeEngine, container
from tests.support.discoveries import NOWHERE, QUICK, config
from tests.support.leaks import assert_no_leaks
from tests.support.truth import chronicle, settled
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.discovery.manager import DiscoveryManager


async def test_a_configuration_adds_removes_and_replaces_engines() -> None:
    async with FakeEngine([container("a")]) as one, FakeEngine([container("b")]) as two, assert_no_leaks():
        async with discover([config(one, "kept"), config(one, "old"), config(one, "moved")]) as discovery:
            await discovery.ready()
            kept = discovery.watcher("kept")
            engines = [config(one, "kept"), config(two, "moved"), config(two, "new")]
            done = await discovery.apply_config(engines, [])
            assert done == ["removed engine old", "changed engine moved", "added engine new"]
            await discovery.ready()
            assert set(discovery.table.engines) == {"kept", "moved", "new"}
            assert discovery.watcher("kept") is kept
            assert (kept.sessions, kept.lists) == (1, 1)
            assert set(discovery.table.routes) == {"a", "b"}
            assert await discovery.apply_config(engines, []) == []


async def test_an_engine_whose_settings_changed_keeps_its_routes_until_it_is_listed_again() -> None:
    web, old = container("web"), container("old")
    async with FakeEngine([web, old]) as one, FakeEngine([web, container("new")]) as two, assert_no_leaks():
        async with discover([config(one)]) as discovery:
            await discovery.ready()
            async with chronicle(discovery) as told:
                two.stall()
                assert await discovery.apply_config([config(two)], []) == ["changed engine local"]
                ready = asyncio.create_task(discovery.ready())
                await two.until(lambda: two.connections > 0)
                status = discovery.table.engines["local"]
                assert (status.state, status.error) == (
                    "stale",
                    "its settings changed, and it has not been listed since",
                )
                assert set(discovery.table.routes) == {"web", "old"}
                assert [c.container_name for c in discovery.snapshots()[0].containers] == ["old", "web"]
                assert not ready.done()
                await until(lambda: told.kinds("stale") == ["stale"])
                two.resume()
                await ready
                assert set(discovery.table.routes) == {"web", "new"}
                assert [c.container_name for c in discovery.snapshots()[0].containers] == ["new", "web"]
                await until(lambda: told.kinds("live"))
                assert told.untouched(["web"])
                assert (told.about("old"), told.about("new")) == (["removed"], ["added"])
                assert next(c.cause for c in told.changes if c.kind == "removed") == "engine local was changed"
            await settled(discovery, config(two))


async def test_an_engine_that_does_not_answer_with_its_new_settings_keeps_its_routes() -> None:
    nowhere = DockerProviderConfig(NOWHERE.url, name="local")
    async with FakeEngine([container("web")]) as engine, assert_no_leaks():
        async with discover([config(engine)], timing=QUICK) as discovery:
            await discovery.ready()
            await discovery.apply_config([nowhere], [])
            await until(lambda: "no socket" in discovery.table.engines["local"].error)
            since = discovery.table.engines["local"].since
            assert set(discovery.table.routes) == {"web"}
            later = DockerProviderConfig("unix:///nonexistent/other.sock", name="local")
            await discovery.apply_config([later], [])
            await until(lambda: "other.sock" in discovery.table.engines["local"].error)
            assert discovery.table.engines["local"].since == since
            (problem,) = discovery.table.problems
            assert "other.sock" in problem.message
            engine.remove("web")
            await discovery.apply_config([config(engine)], [])
            await discovery.ready()
            assert (set(discovery.table.routes), discovery.table.problems) == (set(), ())
            await discovery.apply_config([nowhere], [])
            await discovery.remove("local")
            assert (len(discovery.table.routes), len(discovery.table.engines)) == (0, 0)


@pytest.mark.parametrize("hops", [1, 2])
async def test_a_renamed_engine_keeps_its_routes(hops: int) -> None:
    async with FakeEngine([container("web", labels={"prxy.web.port": "1"})]) as engine, assert_no_leaks():
        async with discover([config(engine, "old")]) as discovery:
            await discovery.ready()
            engine.stall()
            for hop in range(1, hops + 1):
                await discovery.apply_config([config(engine, f"new{hop}")], [])
            assert discovery.table.routes["web"].provider == "old"
            assert set(discovery.table.engines) == {"old", f"new{hops}"}
            async with chronicle(discovery) as told:
                engine.resume()
                await discovery.ready()
                assert set(discovery.table.engines) == {f"new{hops}"}
                assert {problem.provider for problem in discovery.table.problems} == {f"new{hops}"}
                await until(lambda: told.about("web"))
                assert told.about("web")[0] == "updated"
                assert {"added", "removed"}.isdisjoint(told.about("web"))


async def test_removing_a_renamed_engine_before_its_first_list_removes_its_routes() -> None:
    async with FakeEngine([container("web")]) as engine, assert_no_leaks():
        async with discover([config(engine, "old")]) as discovery:
            await discovery.ready()
            engine.stall()
            assert await discovery.apply_config([config(engine, "new")], []) == ["renamed engine old to new"]
            await discovery.apply_config([], [])
            assert (len(discovery.table.routes), len(discovery.table.engines)) == (0, 0)


async def test_a_configuration_with_an_invalid_engine_changes_nothing() -> None:
    async with FakeEngine([container("web")]) as engine, assert_no_leaks():
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            watcher = discovery.watcher("local")
            for url, name in (("gopher://x", "local"), ("context://none", "new")):
                with pytest.raises(ConfigError):
                    await discovery.apply_config([DockerProviderConfig(url, name=name)], ["none.yml"])
            assert discovery.watcher("local") is watcher
            assert (set(discovery.table.routes), discovery.files()) == ({"web"}, ())


async def test_a_configuration_replaces_the_route_files(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("nas: {host: 10.0.0.9}")
    async with discover([]) as discovery:
        assert await discovery.apply_config([], [str(tmp_path / "*.yml")]) == ["changed route files"]
        assert set(discovery.table.routes) == {"nas"}
        assert await discovery.apply_config([], [str(tmp_path / "*.yml")]) == []
        assert await discovery.apply_config([], []) == ["changed route files"]
        assert set(discovery.table.routes) == set()


async def test_new_reserved_ports_apply_to_engines_and_files(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("nas: {host: localhost, port: 8080}")
    host = container("web", network_mode="host", labels={"proxy.web.port": "8080"})
    async with FakeEngine([host]) as engine, discover([config(engine)], files=[str(tmp_path / "a.yml")]) as discovery:
        await discovery.ready()
        served = {alias: not route.excluded for alias, route in discovery.table.routes.items()}
        assert served == {"web": True, "nas": True}
        for ports, expected in ((frozenset({8080}), False), (frozenset({8081}), True)):
            await discovery.apply_config([config(engine)], [str(tmp_path / "a.yml")], reserved_ports=ports)
            assert discovery.table.engines["local"].state == "live"
            served = {alias: not route.excluded for alias, route in discovery.table.routes.items()}
            assert served == {"web": expected, "nas": expected}


def nobody(*hosts: str) -> Policy:
    """A policy under which containers may claim only some hosts."""
    return Policy(rules=(PolicyRule(hosts=hosts),))


def served(discovery: DiscoveryManager) -> set[str]:
    return {alias for alias, route in discovery.table.routes.items() if not route.excluded}


async def test_a_new_policy_applies_at_once_even_if_the_engine_is_away() -> None:
    async with FakeEngine([container(f"web{n}") for n in range(600)]) as engine, assert_no_leaks():
        async with discover([config(engine)], timing=QUICK) as discovery:
            await discovery.ready()
            engine.stall()
            lists = discovery.watcher("local").lists
            done = await discovery.apply_config([config(engine)], [], policy=nobody("web1"))
            assert done[0] == "rebuilt the routes of all engines"
            assert served(discovery) == {"web1"}
            assert discovery.watcher("local").lists == lists
            assert discovery.table.engines["local"].state == "live"
            await discovery.apply_config([DockerProviderConfig(NOWHERE.url, name="local")], [], policy=nobody("web2"))
            assert served(discovery) == {"web2"}  # the routes that are kept until it is listed with its new settings
            engine.resume()
            await discovery.apply_config([config(engine)], [], policy=nobody("web3"))
            await discovery.ready()
            await until(lambda: discovery.table.engines["local"].state == "live")
            assert served(discovery) == {"web3"}
            engine.add("web4")
            engine.add("web5")
            await discovery.apply_config([config(engine)], [], policy=nobody("web4"))
            await until(lambda: served(discovery) == {"web4"})


async def test_a_cancelled_change_of_the_policy_is_completed() -> None:
    async with FakeEngine([container(f"web{n}") for n in range(600)]) as engine, assert_no_leaks():
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            applying = asyncio.create_task(discovery.apply_config([config(engine)], [], policy=nobody("web1")))
            await asyncio.sleep(0)
            applying.cancel()
            await asyncio.wait([applying])
            await until(lambda: served(discovery) == {"web1"})


async def test_the_policy_can_change_while_there_are_no_engines() -> None:
    async with FakeEngine([container("web1"), container("web2")]) as engine, discover([], timing=QUICK) as discovery:
        assert await discovery.apply_config([], [], policy=nobody("web1")) == []
        await discovery.apply_config([config(engine)], [], policy=nobody("web1"))
        await discovery.ready()
        assert served(discovery) == {"web1"}
