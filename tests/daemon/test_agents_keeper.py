"""What Envoys and tunnels learn about agents; no Envoy runs here."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from pilotage.daemon.agents import AgentKeeper
from pilotage.discovery.provider import KnownAgent
from pilotage.engine.agents import AgentInfo
from pilotage.engine.archive import read_credentials
from pilotage.engine.config import DockerProviderConfig, TLSFiles
from pilotage.xds.agent import Agent
from tests.support.agents import AgentCertificates
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

    from pilotage.engine.credentials import Credentials


class Keeping:
    """A keeper, and what it has applied."""

    def __init__(self, **agents: KnownAgent) -> None:
        self.agents: dict[str, KnownAgent] = {it.config.agent: it for it in agents.values()}
        self.applied: list[Mapping[Agent, Credentials | None]] = []
        self.names: dict[str, tuple[str, ...]] = {}
        self.keeper = AgentKeeper(lambda: self.agents, self.applied.append, lookup=self.look_up)

    def look_up(self, name: str) -> tuple[str, ...]:
        if name not in self.names:
            raise OSError("no such name")
        return self.names[name]

    @property
    def last(self) -> tuple[Agent, Any]:
        ((found, credentials),) = self.applied[-1].items()
        return found, credentials


def known(address: str, files: TLSFiles | None, info: AgentInfo | None = None) -> KnownAgent:
    return KnownAgent("far", DockerProviderConfig(f"agent://{address}", files, address), info)


async def test_what_is_known_of_an_agent_is_applied_once(tmp_path: Path) -> None:
    files = TLSFiles(zip_file=str(AgentCertificates().write_zip(tmp_path / "a.zip")))
    keeping = Keeping(far=known("10.0.0.2:8890", files))
    await keeping.keeper.start()
    found, credentials = keeping.last
    assert found == Agent("10.0.0.2:8890", "far", "10.0.0.2")
    assert credentials is not None
    keeping.keeper.update()
    assert len(keeping.applied) == 1
    keeping.agents["10.0.0.2:8890"] = known("10.0.0.2:8890", files, AgentInfo("far", "v0.17.0", "podman", False))
    keeping.keeper.update()
    assert keeping.last == (
        msgspec.structs.replace(found, is_old=True, tunnels=False, in_host_network=False),
        None,
    )


async def test_a_missing_archive_is_a_problem_until_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    keeping = Keeping(far=known("10.0.0.2:8890", TLSFiles(zip_file=str(path))))
    await keeping.keeper.start()
    keeping.keeper.update()
    assert keeping.last[0].problem == f"its agent cannot be reached: {path} does not exist"
    assert len(keeping.applied) == 1
    AgentCertificates().write_zip(path)
    keeping.keeper.update()
    assert keeping.last[0].problem == ""
    path.unlink()
    keeping.keeper.update()  # Envoys keep what they have
    AgentCertificates().write_zip(path, key=AgentCertificates().key)
    keeping.keeper.update()  # Envoys and tunnels could not use it
    assert len(keeping.applied) == 2


async def test_certificates_that_are_not_valid_now_are_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = AgentCertificates(expired=True).write_zip(tmp_path / "a.zip")
    keeping = Keeping(far=known("10.0.0.2:8890", TLSFiles(zip_file=str(path))))
    await keeping.keeper.start()
    assert "is not valid now" in keeping.last[0].problem
    monkeypatch.setattr("pilotage.daemon.agents.check_credentials", read_credentials)  # as if the clock had been wrong
    keeping.keeper.update()
    assert len(keeping.applied) == 1
    keeping.keeper._due = 0.0
    await keeping.keeper.start()
    assert keeping.last[0].problem == ""


async def test_the_name_of_an_agents_host_is_resolved(tmp_path: Path) -> None:
    files = TLSFiles(zip_file=str(AgentCertificates().write_zip(tmp_path / "a.zip")))
    keeping = Keeping(far=known("attic.lan:8890", files))
    await keeping.keeper.start()
    assert keeping.last[0].problem == "the host 'attic.lan' of its agent cannot be resolved"
    keeping.names["attic.lan"] = ("10.0.0.9",)
    await keeping.keeper.start()
    assert (keeping.last[0].ip, keeping.last[0].problem) == ("", "the host 'attic.lan' of its agent cannot be resolved")
    keeping.keeper._due = 0.0
    await keeping.keeper.start()
    assert (keeping.last[0].ip, keeping.last[0].problem) == ("10.0.0.9", "")


async def test_an_agent_that_goes_is_forgotten(tmp_path: Path) -> None:
    files = TLSFiles(zip_file=str(AgentCertificates().write_zip(tmp_path / "a.zip")))
    keeping = Keeping(far=known("10.0.0.2:8890", files))
    await keeping.keeper.start()
    keeping.agents.clear()
    keeping.keeper.update()
    assert keeping.applied[-1] == {}
    keeping.agents["10.0.0.2:8890"] = known("10.0.0.2:8890", files)
    keeping.keeper.update()
    assert keeping.last[1] is not None


async def test_the_keeper_looks_again_until_it_is_cancelled(tmp_path: Path) -> None:
    keeping = Keeping(far=known(f"127.0.0.1:{free_port()}", None))
    task = asyncio.create_task(keeping.keeper.run())
    await until(lambda: keeping.applied)
    assert keeping.last[0].problem == "its agent has no certificates"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
