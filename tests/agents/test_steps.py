"""The steps to an agent: the first that fails is the last one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.agents.steps import Step, tunnel_header, walk
from pilotage.engine.config import DockerProviderConfig, TLSFiles
from pilotage.testing import FakeEngine
from tests.support.agents import AgentCertificates, agent, agent_config
from tests.support.ports import free_port
from tests.testing.test_fake_agent import header

if TYPE_CHECKING:
    from pathlib import Path


async def steps(config: DockerProviderConfig) -> list[Step]:
    return [step async for step in walk(config)]


async def test_every_step_succeeds(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, name="attic") as (running, config):
        engine.add("web")
        found = await steps(config)
        assert all(step.ok for step in found)
        names = ["certificates", "connection", "agent", "engine", "containers", "tcp tunnel"]
        assert [step.name for step in found] == names
        assert [step.result for step in found][2:] == [
            "attic, v0.31.0, for docker",
            "docker 20.10.24, API 1.41",
            "1 listed",
            "works",
        ]
        assert running.calls["probe"] == 1


async def test_an_old_agent_has_no_tunnel_and_that_is_no_failure(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, has_info=False) as (_, config):
        found = await steps(config)
        assert (found[-1].result, found[-1].ok) == ("the agent is too old for it", True)


async def test_nobody_listens(tmp_path: Path) -> None:
    path = AgentCertificates().write_zip(tmp_path / "a.zip")
    found = await steps(agent_config(f"127.0.0.1:{free_port()}", path))
    assert [(step.name, step.ok) for step in found] == [("certificates", True), ("connection", False)]
    assert "connection refused" in found[-1].result
    assert "firewall" in found[-1].remedy


async def test_certificates_that_are_missing_or_bad(tmp_path: Path) -> None:
    (found,) = await steps(DockerProviderConfig("agent://127.0.0.1:1"))
    assert (found.name, found.ok) == ("certificates", False)
    (found,) = await steps(DockerProviderConfig("agent://127.0.0.1:1", TLSFiles(zip_file=str(tmp_path / "none.zip"))))
    assert "does not exist" in found.result


async def test_the_certificates_of_another_agent(tmp_path: Path) -> None:
    path = AgentCertificates().write_zip(tmp_path / "other.zip")
    async with FakeEngine() as engine, agent(engine.url, tmp_path) as (_, config):
        found = await steps(msgspec.structs.replace(config, tls=TLSFiles(zip_file=str(path))))
        assert (found[-1].name, found[-1].ok) == ("agent", False)
        assert "was not issued by the CA in" in found[-1].result


def test_the_header_of_a_tunnel_is_the_one_that_agents_expect() -> None:
    assert tunnel_header("10.0.0.3", 22) == header("10.0.0.3", 22)
    assert len(tunnel_header("x" * 255, 65535, probe=True)) == 275
