from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import EngineUnreachable
from pilotage.engine.address import Address
from pilotage.engine.config import DockerProviderConfig, TLSFiles
from pilotage.engine.pool import Pool, new_client
from pilotage.engine.ssh import SSHDialer
from pilotage.engine.transport import TCPDialer, TLSDialer, UnixDialer, dialer_for
from tests.support.faults import behave, json_answer, puppet
from tests.support.leaks import assert_no_leaks
from tests.support.tls import Authority, server_context

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        (Address("unix", path="/s"), UnixDialer),
        (Address("tcp", host="h", port=1), TCPDialer),
        (Address("tls", host="h", port=1), TLSDialer),
        (Address("agent", host="h", port=1, tls=TLSFiles()), TLSDialer),
        (Address("ssh", host="h"), SSHDialer),
    ],
)
def test_each_scheme_has_its_dialer(address: Address, kind: type) -> None:
    assert type(dialer_for(address)) is kind


def test_a_context_has_no_dialer() -> None:
    with pytest.raises(ValueError, match="context://far cannot be dialled"):
        dialer_for(Address("context", host="far"))


def test_ssh_is_limited_to_two_connections() -> None:
    assert dialer_for(Address("ssh", host="h")).limit == 2
    assert dialer_for(Address("tcp", host="h", port=1)).limit == 100


async def test_an_engine_on_an_ipv6_literal_is_reached() -> None:
    async with puppet(behave(), host="::1") as engine, Pool() as pool, await new_client(engine.url, pool=pool) as far:
        assert await far.list_containers() == []
        assert engine.heads[0].headers["host"] == f"[::1]:{engine.port}"


# ---- agents (LABELS II.7.2)


async def test_an_agent_is_reached_with_mutual_tls_under_its_fixed_name(tmp_path: Path) -> None:
    ca = Authority(tmp_path, "agents")
    server = server_context(ca.issue("agent", "godoxy.agent"), ca)
    files = ca.files(ca.issue("client", "client@godoxy.invalid"))
    info = json_answer({"name": "far", "version": "v0.31.0", "runtime": "docker"})
    async with puppet(behave(info=info), tls=server) as agent, assert_no_leaks(), Pool() as pool:
        config = DockerProviderConfig(agent.url.replace("tcp", "agent", 1), files, "far")
        async with await new_client(config, pool=pool) as client:
            await client.list_containers()
            assert client.daemon_host == agent.url
            assert client.key.startswith("agent://127.0.0.1:")
    assert agent.requests == ["GET /godoxy/agent/info", "GET /version", "GET /v1.51/containers/json?all=1"]
    assert agent.heads[0].headers["host"] == "godoxy.agent"


async def test_an_agent_with_another_name_is_not_trusted(tmp_path: Path) -> None:
    ca = Authority(tmp_path, "agents")
    files = ca.files(ca.issue("client", "client@godoxy.invalid"))
    async with puppet(behave(), tls=server_context(ca.issue("agent", "127.0.0.1"), ca)) as agent, Pool() as pool:
        config = DockerProviderConfig(agent.url.replace("tcp", "agent", 1), files, "far")
        with pytest.raises(EngineUnreachable, match=r"is valid for 127\.0\.0\.1, not for godoxy\.agent"):
            await new_client(config, pool=pool)
