from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from pilotage.testing import FakeEngine
from tests.support.agents import agent

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.commandline import Said


def test_an_agent_is_created(pilotage: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pilotage.yml").write_text("providers: {agents: ['10.0.0.2:8890']}\n")
    said = pilotage("agent", "create", "10.0.0.2:8890", "--name", "attic")
    assert said.status == 0
    assert yaml.safe_load(said.out)["services"]["godoxy-agent"]["environment"]["AGENT_NAME"] == "attic"
    assert "pilotage agent check 10.0.0.2:8890" in said.err
    assert pilotage("check").status == 0
    again = pilotage("agent", "create", "10.0.0.2:8890")
    assert (again.status, "--replace" in again.err) == (2, True)
    assert pilotage("agent", "create", "10.0.0.2:8890", "--replace").status == 0


@pytest.mark.parametrize("address", ["10.0.0.2", "a/b:1", "10.0.0.2:0", ""])
def test_an_address_must_be_one(pilotage: Callable[..., Said], address: str) -> None:
    said = pilotage("agent", "create", address)
    assert (said.status, "write HOST:PORT" in said.err) == (2, True)


@pytest.mark.parametrize("name", ["a$b", "a/b", "x" * 65, "\N{GRINNING FACE}"])
def test_a_name_that_pilotage_would_not_show_is_refused(pilotage: Callable[..., Said], name: str) -> None:
    said = pilotage("agent", "create", "10.0.0.2:8890", "--name", name)
    assert (said.status, "is not a name for an agent" in said.err) == (2, True)
    assert not Path("certs").exists()


async def test_the_way_to_an_agent_is_checked(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, name="attic") as (running, _):
        file = tmp_path / "pilotage.yml"
        file.write_text(f"providers:\n  agents: [{running.address!r}]\n")
        said = await asyncio.to_thread(pilotage, "agent", "check", "--config", str(file))
        assert said.status == 0
        assert said.out.splitlines()[0] == running.address
        assert "✓ tcp tunnel: works" in said.out
        engines = await asyncio.to_thread(pilotage, "engines", "--config", str(file))
        assert "Docker, agent attic v0.31.0" in " ".join(engines.out.split())
        await running.crash()
        said = await asyncio.to_thread(pilotage, "agent", "check", "--config", str(file), running.address)
        assert said.status == 2
        assert "✗ connection" in said.out
        unknown = await asyncio.to_thread(pilotage, "agent", "check", "--config", str(file), "other")
        assert f"its agents: {running.address}" in unknown.err


def test_without_agents_there_is_nothing_to_check(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    file.write_text("providers: {docker: {local: 'unix:///s'}}\n")
    said = pilotage("agent", "check", "--config", str(file))
    assert (said.status, "lists no agents" in said.err) == (2, True)


async def test_explain_shows_the_agent_and_the_path(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, name="attic") as (running, _):
        engine.add("web", labels={"proxy.web.port": "80"})
        file = tmp_path / "pilotage.yml"
        file.write_text(f"providers:\n  agents: [{running.address!r}]\n")
        said = await asyncio.to_thread(pilotage, "explain", "web", "--config", str(file))
        text = " ".join(said.out.split())
        assert f"agent attic at {running.address}, v0.31.0 certificate valid until 3026-" in text
        assert f"path gateway → agent {running.address} → 172.17.0." in text
