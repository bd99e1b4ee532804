"""Engines behind agents: their names, what happens while an agent is away, and what the first list could miss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.discovery.manager import discover
from pilotage.discovery.scan import scan_all
from pilotage.table import HeldName
from pilotage.testing import FakeEngine
from tests.support.agents import AgentCertificates, agent, agent_config
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

LABELS = {"proxy.web.port": "80"}


async def test_an_engine_goes_by_the_name_of_its_agent(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, name="far") as (_, config):
        engine.add("web", labels=LABELS)
        async with discover([config]) as discovery:
            await discovery.ready()
            assert list(discovery.table.engines) == ["far"]
            route = discovery.table.routes["web"]
            (snapshot,) = discovery.snapshots()
            (container,) = snapshot.containers
            assert (route.provider, container.agent, container.provider) == ("far", "far", "far")
            assert snapshot.agent is not None
            assert snapshot.agent.info.version == "v0.31.0"
            assert route.endpoints[0].host == container.private_hostname != ""


async def test_a_name_from_the_configuration_stays(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, name="far") as (_, config):
        named = msgspec.structs.replace(config, name="mine")
        async with discover([named]) as discovery:
            await discovery.ready()
            assert list(discovery.table.engines) == ["mine"]
        (snapshot,) = (await scan_all([named])).snapshots
        assert snapshot.config.name == "mine"


async def test_two_agents_with_one_name_get_different_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    async with (
        FakeEngine() as engine,
        agent(engine.url, tmp_path, name="far") as (_, one),
        agent(engine.url, tmp_path / "b", name="far") as (_, two),
    ):
        async with discover([one, two]) as discovery:
            await discovery.ready()
            names = set(discovery.table.engines)
        assert len(names) == 2
        assert "far" in names
        assert names < {"far", f"far@{one.agent}", f"far@{two.agent}"}
        scanned = (await scan_all([one, two])).snapshots
        assert {snapshot.config.name for snapshot in scanned} < {"far", f"far@{one.agent}", f"far@{two.agent}"}


async def test_an_agent_gets_no_names_of_an_unreachable_one_by_using_its_name(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    async with (
        FakeEngine() as mine,
        FakeEngine() as theirs,
        agent(mine.url, tmp_path, name="far") as (running, one),
        agent(theirs.url, tmp_path / "b", name="far") as (_, two),
    ):
        mine.add("web", labels=LABELS)
        theirs.add("web", labels=LABELS)
        await running.crash()
        async with discover([]) as discovery:
            discovery.store.reserve({"web": HeldName("far", "web", one.agent)}, [one.agent, two.agent])
            discovery.store.keep_holders()
            for config in (one, two):
                discovery.add(config)
            await until(lambda: "web" in discovery.table.routes)
            assert discovery.table.routes["web"].provider == "far"
            assert discovery.table.routes["web"].excluded
            await running.listen()
            await until(lambda: not discovery.table.routes["web"].excluded)
            assert discovery.table.routes["web"].provider == f"far@{one.agent}"


async def test_an_exclamation_mark_in_the_name_of_an_agent_requires_labels(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, name="far!") as (_, config):
        engine.add("web", labels=LABELS)
        engine.add("other", ports=["80"])
        async with discover([config]) as discovery:
            await discovery.ready()
            assert list(discovery.table.routes) == ["web"]


async def test_an_agent_that_is_down_at_the_start_is_tried_again(tmp_path: Path) -> None:
    made, port = AgentCertificates(), free_port()
    address = f"127.0.0.1:{port}"
    config = agent_config(address, made.write_zip(tmp_path / "certs" / f"{address}.zip"))
    async with FakeEngine() as engine, discover([config]) as discovery:
        engine.add("web", labels=LABELS)
        await until(lambda: discovery.table.engines[address].state == "stale")
        async with agent(engine.url, tmp_path, certificates=made, port=port, name="far"):
            await discovery.ready()
            assert [(name, status.state) for name, status in discovery.table.engines.items()] == [("far", "live")]
            assert not [problem for problem in discovery.table.problems if problem.severity == "error"]


async def test_routes_stay_while_an_agent_is_away_and_are_compared_when_it_is_back(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, name="far") as (running, config):
        engine.add("web", labels=LABELS)
        async with discover([config]) as discovery:
            await discovery.ready()
            await running.crash()
            await until(lambda: discovery.table.engines["far"].state == "stale")
            assert list(discovery.table.routes) == ["web"]
            engine.remove("web")
            engine.add("shop", labels={"proxy.shop.port": "80"})
            await running.listen()
            await until(lambda: list(discovery.table.routes) == ["shop"])
            assert discovery.table.engines["far"].state == "live"


async def test_what_happens_before_the_subscription_is_in_effect_is_listed_soon(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, name="far") as (_, config):
        async with discover([config]) as discovery:
            await discovery.ready()
            engine.drop_events(2)
            engine.add("web", labels=LABELS)
            await until(lambda: list(discovery.table.routes) == ["web"])


async def test_a_change_of_the_certificates_in_the_configuration_keeps_the_name(tmp_path: Path) -> None:
    made = AgentCertificates()
    async with FakeEngine() as engine, agent(engine.url, tmp_path, name="far", certificates=made) as (running, config):
        engine.add("web", labels=LABELS)
        async with discover([config]) as discovery:
            await discovery.ready()
            other = agent_config(running.address, made.write_zip(tmp_path / "other.zip"))
            await discovery.apply_config([other], [])
            await until(lambda: [status.state for status in discovery.table.engines.values()] == ["live"])
            assert list(discovery.table.engines) == ["far"]
            assert list(discovery.table.routes) == ["web"]
