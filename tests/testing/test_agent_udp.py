"""The agent's end of udp tunnels: headers that it accepts, targets that refuse, and clients that leave."""

from __future__ import annotations

import socket
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from pilotage.engine.agents import tunnel_header
from pilotage.engine.credentials import Credentials
from pilotage.engine.dtls_client import DTLSClient
from pilotage.engine.dtls_end import dtls_context
from pilotage.testing.agent_udp import UdpTunnels
from tests.support.agents import AgentCertificates
from tests.support.datagrams import bound_datagrams, udp_echo
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

MADE = AgentCertificates()


@pytest.fixture
async def agent() -> Iterator[UdpTunnels]:  # type: ignore[misc]
    found = UdpTunnels(bound_datagrams(), MADE.for_udp(), Counter())
    yield found
    found.close()


def client(agent: UdpTunnels, received: list[bytes], lost: list[DTLSClient]) -> DTLSClient:
    context = dtls_context(Credentials(MADE.ca, MADE.cert, MADE.key))
    return DTLSClient(context, agent.socket.getsockname(), received.extend, lost.append)


async def test_two_clients_have_a_socket_each(agent: UdpTunnels) -> None:
    async with udp_echo() as server:
        received: list[bytes] = []
        clients = [client(agent, received, []) for _ in range(2)]
        for each in clients:
            await each.open(tunnel_header("127.0.0.1", server.port))
            each.send(b"ping")
        await until(lambda: received == [b"ping", b"ping"])
        assert len(server.clients) == agent.calls["udp"] == 2
        for each in clients:
            each.close()
        await until(lambda: not agent.clients)


@pytest.mark.parametrize(
    "wrong", [b"x" * 275, tunnel_header("127.0.0.1", 9)[:-1] + b"x", tunnel_header("", 0, probe=True)]
)
async def test_a_wrong_header_and_a_probe_end_the_connection(agent: UdpTunnels, wrong: bytes) -> None:
    lost: list[DTLSClient] = []
    made = client(agent, [], lost)
    await made.open(wrong)
    await until(lambda: lost)
    assert not agent.clients
    assert agent.calls["udp"] == 0
    made.close()


async def test_after_a_target_has_refused_a_datagram_no_more_answers_come(agent: UdpTunnels) -> None:
    received: list[bytes] = []
    port = free_port()
    made = client(agent, received, [])
    await made.open(tunnel_header("127.0.0.1", port))
    made.send(b"refused")
    (served,) = agent.clients.values()
    await until(lambda: served.is_deaf)
    async with udp_echo(port) as server:
        made.send(b"taken")
        await until(lambda: server.taken)
        assert received == []
    made.close()


async def test_packets_that_begin_no_connection_are_ignored(agent: UdpTunnels) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for packet in (b"\x17noise", b"", b"\x16noise"):
            stranger.sendto(packet, agent.socket.getsockname())
        await until(lambda: len(agent.clients) == 1)  # of the last packet
