"""A DTLS connection over a socket: an agent that answers, that is away, that is silent, and that closes it."""

from __future__ import annotations

import asyncio
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
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

MADE = AgentCertificates()


class Site:
    """An agent's port, and what a client has got."""

    def __init__(self) -> None:
        with bound_datagrams() as free:
            self.port = free.getsockname()[1]
        self.received: list[bytes] = []
        self.lost: list[DTLSClient] = []
        context = dtls_context(Credentials(MADE.ca, MADE.cert, MADE.key))
        self.client = DTLSClient(context, ("127.0.0.1", self.port), self.received.extend, self.lost.append)

    def serve(self) -> UdpTunnels:
        return UdpTunnels(bound_datagrams(self.port), MADE.for_udp(), Counter())


@pytest.fixture
async def site() -> Iterator[Site]:  # type: ignore[misc]
    found = Site()
    yield found
    found.client.close()


async def test_datagrams_go_both_ways_until_the_client_closes_it(site: Site) -> None:
    agent = site.serve()
    async with udp_echo() as server:
        await site.client.open(tunnel_header("127.0.0.1", server.port))
        for datagram in (b"one", b"two"):
            assert site.client.send(datagram)
        await until(lambda: site.received == [b"one", b"two"])
        assert site.client.send(b"")
        assert not site.client.send(bytes(16_385))
        site.client.close()
        site.client.close()
        await until(lambda: not agent.clients)
    agent.close()
    assert site.lost == []


async def test_an_agent_that_is_away_is_noticed(site: Site) -> None:
    with pytest.raises(ConnectionRefusedError):
        await site.client.open(tunnel_header("127.0.0.1", 9))


async def test_an_agent_that_does_not_answer_at_first(site: Site) -> None:
    with bound_datagrams(site.port):
        opening = asyncio.create_task(site.client.open(tunnel_header("127.0.0.1", 9)))
        await until(lambda: site.client._end.patience is not None)
    agent = site.serve()
    await opening
    agent.close()


async def test_the_end_of_the_agent_is_noticed_once(site: Site) -> None:
    agent = site.serve()
    await site.client.open(tunnel_header("127.0.0.1", 9, probe=True))  # which the agent closes
    await until(lambda: site.lost)
    agent.close()
    for _ in range(3):
        assert site.client.send(b"more")
        await asyncio.sleep(0)
    assert site.lost == [site.client]
