"""The steps to an agent: the first that fails is the last one."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import msgspec
import pytest

from pilotage.agents.steps import Step, walk
from pilotage.engine.config import DockerProviderConfig, TLSFiles
from pilotage.testing import FakeEngine
from tests.support.agents import AgentCertificates, agent, agent_config
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


async def steps(config: DockerProviderConfig) -> list[Step]:
    return [step async for step in walk(config)]


async def test_every_step_succeeds(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, name="attic") as (running, config):
        engine.add("web")
        found = await steps(config)
        assert all(step.ok for step in found)
        names = ["certificates", "connection", "agent", "engine", "containers", "tcp tunnel", "udp tunnel"]
        assert [step.name for step in found] == names
        assert [step.result for step in found][2:] == [
            "attic, v0.31.0, for docker",
            "docker 20.10.24, API 1.41",
            "1 listed",
            "works",
            "works",
        ]
        await until(lambda: running.calls["udp probe"] == running.calls["probe"] == 1)


async def test_an_agent_that_no_datagram_reaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, udp=None) as (running, config):
        found = (await steps(config))[-1]
        assert (found.name, found.result, found.ok) == ("udp tunnel", "failed: connection refused", False)
        assert f"UDP datagrams to port {running.port}" in found.remedy
        monkeypatch.setattr("pilotage.agents.steps.find_spec", lambda _: None)
        found = (await steps(config))[-1]
        assert (found.result.partition(",")[0], found.ok) == ("not checked", True)


async def test_an_old_agent_has_no_tunnel_and_that_is_no_failure(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, has_info=False) as (_, config):
        found = await steps(config)
        assert (found[-1].result, found[-1].ok) == ("the agent is too old to support tunnels", True)


async def test_nobody_listens(tmp_path: Path) -> None:
    path = AgentCertificates().write_zip(tmp_path / "a.zip")
    found = await steps(agent_config(f"127.0.0.1:{free_port()}", path))
    assert [(step.name, step.ok) for step in found] == [("certificates", True), ("connection", False)]
    assert "connection refused" in found[-1].result
    assert "firewall" in found[-1].remedy


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name or service not known"),
        (UnicodeError("label empty"), "not a valid host name"),
    ],
)
async def test_a_host_that_cannot_be_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Mock(side_effect=error))
    found = await steps(agent_config("attic:8890", AgentCertificates().write_zip(tmp_path / "a.zip")))
    assert [(step.name, step.ok) for step in found] == [("certificates", True), ("connection", False)]
    assert found[-1].result == f"attic:8890: {why}"


async def test_an_engine_that_refuses_its_list_is_not_mistaken_for_its_agent(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path) as (_, config):
        engine.spoil("list", status=403, message="not allowed")
        found = await steps(config)
        assert [(step.name, step.ok) for step in found[2:]] == [
            ("agent", True),
            ("engine", True),
            ("containers", False),
        ]


async def test_a_server_that_refuses_the_protocol_of_the_tunnel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = ssl.SSLError(1, "[SSL: TLSV1_ALERT_NO_APPLICATION_PROTOCOL] refused")
    refusal.reason = "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"

    async def refuse(*, sock: socket.socket, **_: Any) -> None:
        sock.close()
        raise refusal

    monkeypatch.setattr("pilotage.agents.steps.asyncio.open_connection", refuse)
    async with FakeEngine() as engine, agent(engine.url, tmp_path) as (_, config):
        found = await steps(config)
        assert found[-1].result == "failed: tlsv1 alert no application protocol"


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
