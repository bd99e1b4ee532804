"""The sockets of tunnels: who may connect, how many, and how they follow routes, agents and certificates."""

from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pilotage.gateway import tunnels as module
from pilotage.gateway.tunnels import Tunnels
from tests.support.agents import AgentCertificates
from tests.support.tunnels import Site, echoes
from tests.support.waiting import until

if TYPE_CHECKING:
    import pytest


async def test_only_this_user_can_connect(site: Site) -> None:
    assert stat.S_IMODE(Path(site.path(site.tunnel())).stat().st_mode) == 0o600


async def test_many_connections_at_once_and_one_too_many(site: Site) -> None:
    site.tunnels.most = 100
    streams = await asyncio.gather(*(site.connect() for _ in range(100)))
    for number, (_, writer) in enumerate(streams):
        writer.write(b"%d\n" % number)
    for number, (reader, _) in enumerate(streams):
        assert await reader.readline() == b"%d\n" % number
    reader, writer = await site.connect()
    assert await reader.read() == b""
    for _, each in (*streams, (reader, writer)):
        each.close()
    await until(lambda: not site.tunnels.connections)
    assert await echoes(site)


async def test_connections_end_with_their_agent_and_begin_again_with_it(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await site.connect()
    writer.write(b"ping\n")
    assert await reader.readline() == b"ping\n"
    await site.running.crash()
    assert await reader.read() == b""
    writer.close()
    for _ in range(3):
        assert not await echoes(site)
    found = [record.getMessage() for record in caplog.records]
    assert [text for text in found if "no tunnel to" in text] == [
        f"no tunnel to 127.0.0.1:{site.port} through agent {site.agent.address}: connection refused"
    ]
    await site.running.listen()
    assert await echoes(site)


async def test_an_agent_of_another_ca_is_not_used(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    await site.running.crash()
    site.running.use(AgentCertificates().server_context(site.folder))
    await site.running.listen()
    assert not await echoes(site)
    assert "certificate verify failed" in caplog.text
    assert site.running.calls["tunnel"] == 0


async def test_new_certificates_are_used_for_new_connections(site: Site) -> None:
    await site.running.crash()
    second = AgentCertificates()
    site.running.use(second.server_context(site.folder))
    await site.running.listen()
    second.write_zip(site.folder / "certs" / f"{site.running.address}.zip")
    assert not await echoes(site)
    site.tunnels.set_agents({site.agent: None})  # the same as before
    assert not await echoes(site)
    site.use(site.agent)
    assert await echoes(site)


async def test_connections_outlive_their_route_until_envoy_ends_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LINGER", 0.0)
    reader, writer = await site.connect()
    writer.write(b"one\n")
    assert await reader.readline() == b"one\n"
    site.route("app")
    await until(lambda: not Path(site.path(site.tunnel())).exists())
    assert not await echoes(site)
    writer.write(b"two\n")
    assert await reader.readline() == b"two\n"
    writer.close()
    await until(lambda: not site.tunnels.connections)


async def test_two_routes_share_a_socket(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LINGER", 0.0)
    site.route("other", site.tunnel())
    site.route("app")
    await asyncio.sleep(0)
    assert await echoes(site)
    site.route("other")
    site.route("other", site.tunnel())  # at once again
    await asyncio.sleep(0)
    assert await echoes(site)


async def test_connections_end_with_their_agents_entry(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(b"one\n")
    assert await reader.readline() == b"one\n"
    site.use()
    assert await reader.read() == b""
    writer.close()
    assert not await echoes(site)


async def test_sockets_of_an_earlier_process_are_replaced(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / site.tunnel().name))
    other: Any = Tunnels(str(folder), lambda _: [site.tunnel()])
    try:
        assert not list(folder.iterdir())
        other.follow(None, {"app"})
        assert [it.name for it in folder.iterdir()] == [site.tunnel().name]
    finally:
        await other.close()


async def test_a_socket_that_cannot_be_made_is_reported(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for folder, why in (("nowhere", "No such file or directory"), ("x" * 100, "too long")):
        other = Tunnels(str(site.folder / folder), lambda _: [site.tunnel()])
        try:
            other.follow(None, {"app"})
            assert why in caplog.text
        finally:
            await other.close()


async def test_an_agent_without_certificates_is_not_used(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.use()
    site.tunnels.set_agents({site.agent: None})
    assert not await echoes(site)
    assert "it has no certificates" in caplog.text


async def test_more_connections_than_can_be_opened_at_once_wait_for_their_turn(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    site.use()
    site.use(site.agent)
    streams = await asyncio.gather(*(site.connect() for _ in range(5)))
    for reader, writer in streams:
        writer.write(b"ping\n")
        assert await reader.readline() == b"ping\n"
        writer.close()
