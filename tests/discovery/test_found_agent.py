"""What is known about an agent: its own report, and when the certificate for it expires."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.discovery.found_agent import found_agent
from pilotage.engine.agents import AgentInfo
from tests.support.agents import AgentCertificates, agent_config

if TYPE_CHECKING:
    from pathlib import Path

INFO = AgentInfo("far", "v0.31.0", "docker", True)


def test_an_agent_that_has_not_been_found_is_unknown(tmp_path: Path) -> None:
    path = AgentCertificates().write_zip(tmp_path / "a.zip")
    assert found_agent(None, agent_config("10.0.0.2:8890", path)) is None


def test_the_certificate_is_the_one_on_disk_now(tmp_path: Path) -> None:
    path = AgentCertificates().write_zip(tmp_path / "a.zip")
    config = agent_config("10.0.0.2:8890", path)
    found = found_agent(INFO, config)
    assert found is not None
    assert found.info == INFO
    AgentCertificates(expired=True).write_zip(path)
    later = found_agent(INFO, config)
    assert later is not None
    assert later.expires < found.expires
    path.unlink()
    gone = found_agent(INFO, config)
    assert gone is not None
    assert gone.expires == ""
