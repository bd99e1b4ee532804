"""Sessions of udp clients: what Envoy sends and gets, silent targets, agents that go, limits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import PilotageError
from pilotage.gateway import udp_tunnel as module
from pilotage.gateway.capsules import ACCEPTED, REFUSED, capsule
from pilotage.xds.agent import Agent, Tunnel
from tests.support.agents import AgentCertificates
from tests.support.datagrams import replies, udp_echo
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from tests.support.datagrams import UdpEcho
    from tests.support.tunnels import Site, Streams

HEAD = b"GET /.well-known/masque/udp/target/1/ HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
async def server() -> AsyncIterator[UdpEcho]:
    async with udp_echo() as found:
        yield found


@pytest.fixture
async def tunnel(site: Site, server: UdpEcho) -> Tunnel:
    found = Tunnel(site.agent.address, f"127.0.0.1:{server.port}", udp=True)
    site.route("dns", found)
    return found


@pytest.fixture
async def client(site: Site, tunnel: Tunnel) -> AsyncIterator[socket.socket]:
    """A client in this process."""
    with site.tunnels.connect(tunnel) as made:
        yield made


def the_session(site: Site) -> module.UdpTunnel:
    (session,) = site.tunnels.connections
    assert isinstance(session, module.UdpTunnel)
    return session


async def begun(site: Site, tunnel: Tunnel, begin: bytes = HEAD) -> tuple[Streams, bytes]:
    """Begin a session as Envoy does; return its stream, and the response."""
    reader, writer = await site.connect(tunnel)
    writer.write(begin)
    return (reader, writer), await reader.readuntil(b"\r\n\r\n")


async def test_envoy_sends_and_gets_capsules(site: Site, tunnel: Tunnel) -> None:
    (reader, writer), response = await begun(site, tunnel)
    assert response == ACCEPTED
    for datagram in (b"ping", bytes(16_384)):
        writer.write(capsule(datagram))
        assert await reader.readexactly(len(capsule(datagram))) == capsule(datagram)
    assert site.running.calls["udp"] == 1
    writer.close()
    await until(lambda: not site.tunnels.connections)
    tunnels = site.running._udp
    assert tunnels is not None
    await until(lambda: not tunnels.clients)


async def test_a_stream_that_is_not_one_of_envoys_is_closed(site: Site, tunnel: Tunnel) -> None:
    (reader, writer), _ = await begun(site, tunnel)
    writer.write(b"\x00\x80\x02\x00\x00")  # longer than any datagram
    assert await reader.read() == b""
    writer.close()
    await until(lambda: not site.tunnels.connections)


async def test_what_is_too_large_or_empty_is_dropped(
    site: Site, client: socket.socket, server: UdpEcho, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        client.send(bytes(16_385))
    assert await replies(client, b"small") == b"small"
    client.send(bytes(16_385))
    assert await replies(client, b"small") == b"small"
    (message,) = caplog.messages
    assert message.startswith(f"datagrams dropped to 127.0.0.1:{server.port} through agent {site.agent.address}: ")
    assert message.endswith("a datagram has 16385 bytes, but at most 16384 fit")


async def test_what_waits_for_a_tunnel_is_limited(site: Site, client: socket.socket) -> None:
    session = the_session(site)
    for _ in range(64):
        session._send(bytes(16_384))
    assert sum(map(len, session._waiting)) == 128 * 1024
    assert len(await replies(client, b"ping")) > 0


async def test_answers_for_an_envoy_that_does_not_read_are_dropped(site: Site, tunnel: Tunnel, server: UdpEcho) -> None:
    (reader, writer), _ = await begun(site, tunnel)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    large = capsule(bytes(16_000))
    for number in range(10, 201, 10):  # no more at once than all buffers on the way hold
        writer.write(10 * large)
        await until(lambda sent=number: server.taken >= sent)  # type: ignore[misc]
    session = the_session(site)
    assert len(session._near._left) < 100 * len(large)
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    found = 0
    while found < 2 * len(large):
        found += len(await reader.read(1 << 20))
    await until(lambda: not session._near._left)
    writer.close()


async def test_an_agent_that_restarts_is_found_again(site: Site, tunnel: Tunnel, client: socket.socket) -> None:
    assert await replies(client) == b"ping"
    await site.running.crash()
    await site.running.listen()
    assert await replies(client, patience=0.1) == b""  # the agent knows nothing of this tunnel
    session = the_session(site)
    session._asked -= module._UNHEARD
    client.send(b"lost")
    await until(lambda: site.running.calls["udp"] == 2)
    assert await replies(client) == b"ping"
    assert session._patience == module._UNHEARD


async def test_a_target_that_never_answers_gets_new_tunnels_less_and_less_often_and_every_datagram(
    site: Site, server: UdpEcho, client: socket.socket
) -> None:
    server.is_silent = True
    session = the_session(site)
    for number in range(7):
        client.send(b"first")
        await until(lambda: session._asked)
        patience = session._patience
        session._asked -= patience
        client.send(b"second")
        await until(lambda count=number: site.running.calls["udp"] == count + 2)  # type: ignore[misc]
        await until(session._task.done)
        assert (session._patience, session._asked) == (min(2 * patience, module._LONGEST_UNHEARD), 0.0)
        await until(lambda sent=2 * number + 2: server.taken == sent)  # type: ignore[misc]
    assert session._patience == module._LONGEST_UNHEARD
    assert site.running.calls["udp"] == 8


async def test_a_client_of_an_agent_that_is_away_gets_one_tunnel_a_second(
    site: Site, tunnel: Tunnel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.05)
    await site.running.crash()
    (reader, writer), response = await begun(site, tunnel)
    assert response == REFUSED
    assert await reader.read() == b""
    writer.close()
    with site.tunnels.connect(tunnel) as client:
        for _ in range(10):
            client.send(b"ping")
        assert await asyncio.get_running_loop().sock_recv(client, 100) == b""  # the session has ended
    assert caplog.messages == [f"no tunnel to {tunnel.place} through agent {tunnel.agent}: connection refused"]


async def test_new_certificates_are_used_for_new_sessions(
    site: Site, tunnel: Tunnel, caplog: pytest.LogCaptureFixture
) -> None:
    await site.running.crash()
    second = AgentCertificates()
    site.running.use(second.server_context(site.folder), second.for_udp())
    await site.running.listen()
    with site.tunnels.connect(tunnel) as client:
        client.send(b"ping")
        await until(lambda: "certificate verify failed" in caplog.text)
    second.write_zip(site.folder / "certs" / f"{site.running.address}.zip")
    site.use(site.agent)
    with site.tunnels.connect(tunnel) as client:
        assert await replies(client, patience=10) == b"ping"


async def test_sessions_end_with_their_route_and_with_their_agent(site: Site, tunnel: Tunnel) -> None:
    ends: tuple[Callable[[], None], ...] = (
        lambda: site.route("dns"),
        lambda: site.use(Agent("10.0.0.9:1", "other", "10.0.0.9")),
    )
    for end in ends:
        site.route("dns", tunnel)
        with site.tunnels.connect(tunnel) as client:
            assert await replies(client, patience=10) == b"ping"
            end()
            assert not site.tunnels.connections
            assert await asyncio.get_running_loop().sock_recv(client, 100) == b""


async def test_there_are_no_more_sessions_than_allowed(site: Site, tunnel: Tunnel) -> None:
    site.tunnels.most = 2
    with site.tunnels.connect(tunnel), site.tunnels.connect(tunnel), pytest.raises(OSError, match="too many"):
        site.tunnels.connect(tunnel)
    await until(lambda: not site.tunnels.connections)


async def test_a_failure_that_nobody_expects_ends_the_session(
    site: Site, tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))

    def fail(*_: object) -> None:
        raise PilotageError("unexpected")

    monkeypatch.setattr(site.tunnels, "dtls_context", fail)
    with site.tunnels.connect(tunnel):
        await until(lambda: not site.tunnels.connections)
    assert [str(each) for each in failures] == ["unexpected"]


async def test_a_target_that_refuses_at_first_is_reached_with_the_next_tunnel(
    site: Site, tunnel: Tunnel, server: UdpEcho
) -> None:
    port = free_port()
    refused = Tunnel(site.agent.address, f"127.0.0.1:{port}", udp=True)
    with site.tunnels.connect(refused) as client:
        client.send(b"refused")
        tunnels = site.running._udp
        assert tunnels is not None
        await until(lambda: any(each.is_deaf for each in tunnels.clients.values()))
        async with udp_echo(port):
            session = the_session(site)
            session._asked -= module._UNHEARD
            client.send(b"lost")
            await until(lambda: site.running.calls["udp"] == 2)
            assert await replies(client) == b"ping"
