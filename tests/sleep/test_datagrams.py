"""Datagrams wait for containers, within limits, and find the way back to their clients."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pilotage.sleep import datagrams
from pilotage.sleep.datagrams import MOST_BYTES, MOST_HELD, Datagrams
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


Client = Callable[[], socket.socket]


class Server(asyncio.DatagramProtocol):
    """Answers every datagram with ``re: `` and the same."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.append(data)
        self.transport.sendto(b"re: " + data, addr)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def serving(port: int = 0) -> AsyncIterator[tuple[Server, int]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(Server, ("127.0.0.1", port))
    try:
        yield server, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


class Site:
    """Datagrams to one route, ``dns``."""

    def __init__(self) -> None:
        self.relays = Datagrams(is_enabled=True)
        self.wanted: list[str] = []
        self.changes: list[int] = []
        self.port = 9
        self.relays.want = self.wanted.append
        self.relays.changed = lambda alias: self.changes.append(self.relays.in_progress(alias))
        self.relays.targets = lambda _alias: [("127.0.0.1", self.port)]
        self.address = ("127.0.0.1", self.relays.open("dns", "closed"))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    yield found
    found.relays.close()


@pytest.fixture
def client() -> Iterator[Client]:
    made: list[socket.socket] = []

    def make() -> socket.socket:
        made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        made[-1].setblocking(False)
        return made[-1]

    yield make
    for each in made:
        each.close()


async def taken(site: Site) -> None:
    """Wait until the relay has read every datagram that was sent to it. On loopback, sending delivers."""
    (relay,) = site.relays._relays.values()
    await until(lambda: not select.select([relay.socket], [], [], 0)[0])


async def refused(site: Site) -> None:
    """Wait until the server's port has refused a datagram, which is to be sent again."""
    (relay,) = site.relays._relays.values()
    await until(lambda: any(session._again for session in relay.sessions.values()))


async def open_too_early(site: Site) -> None:
    """Forward the waiting datagrams to a port on which no server listens yet; wait until it has refused one."""
    await until(lambda: site.wanted)
    async with serving() as (_, site.port):
        pass
    await until(lambda: is_free(site.port))
    site.relays.open("dns", "open")
    await refused(site)


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as it:
        try:
            it.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def answer(of: socket.socket) -> bytes:
    async with asyncio.timeout(10):
        return await asyncio.get_running_loop().sock_recv(of, 65536)


async def test_the_first_datagram_wakes_and_each_client_gets_its_answer(site: Site, client: Client) -> None:
    one, two = client(), client()
    one.sendto(b"first", site.address)
    two.sendto(b"second", site.address)
    await taken(site)
    assert site.wanted == ["dns"]
    async with serving() as (server, site.port):
        assert site.relays.open("dns", "open") == site.address[1]
        assert (await answer(one), await answer(two)) == (b"re: first", b"re: second")
        one.sendto(b"third", site.address)
        assert await answer(one) == b"re: third"
        assert server.received == [b"first", b"second", b"third"]
    assert site.changes == [1, 2]


async def test_a_server_that_does_not_listen_yet_gets_the_datagrams_later(site: Site, client: Client) -> None:
    one = client()
    for number in range(3):
        one.sendto(b"%d" % number, site.address)
    await open_too_early(site)
    async with serving(site.port) as (server, _):
        assert await answer(one) == b"re: 0"
        await until(lambda: len(set(server.received)) == 3)


async def test_an_answer_does_not_end_the_resending_of_a_datagram_that_was_refused(site: Site, client: Client) -> None:
    one = client()
    one.sendto(b"early", site.address)
    await open_too_early(site)
    async with serving(site.port) as (server, _):
        one.sendto(b"later", site.address)
        await until(lambda: set(server.received) == {b"early", b"later"})


async def test_a_session_outlives_a_restart_of_its_server(site: Site, client: Client) -> None:
    one = client()
    async with serving() as (_, site.port):
        site.relays.open("dns", "open")
        one.sendto(b"before", site.address)
        assert await answer(one) == b"re: before"
    await until(lambda: is_free(site.port))
    site.relays.open("dns", "closed")
    one.sendto(b"after", site.address)
    await until(lambda: site.wanted)
    site.relays.open("dns", "open")
    await refused(site)
    async with serving(site.port):
        assert await answer(one) == b"re: after"
    assert site.changes == [1, 1]


async def test_only_so_many_datagrams_wait(site: Site, client: Client) -> None:
    one = client()
    async with serving() as (server, site.port):
        for number in range(MOST_HELD + 50):
            one.sendto(b"%d" % number, site.address)
            await taken(site)
        site.relays.open("dns", "open")
        await until(lambda: len(server.received) == MOST_HELD)
        assert server.received[-1] == b"%d" % (MOST_HELD - 1)


async def test_only_so_many_bytes_wait(site: Site, client: Client) -> None:
    one, size = client(), 60_000
    async with serving() as (server, site.port):
        for _ in range(MOST_BYTES // size + 5):
            one.sendto(bytes(size), site.address)
            await taken(site)
        site.relays.open("dns", "open")
        await until(lambda: len(server.received) == MOST_BYTES // size)


async def test_only_so_many_bytes_are_kept_to_be_sent_again_for_all_clients(site: Site, client: Client) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:  # never answers
        silent.bind(("127.0.0.1", 0))
        site.port = silent.getsockname()[1]
        site.relays.open("dns", "open")
        (relay,) = site.relays._relays.values()
        for number in range(MOST_BYTES // 60_000 + 2):
            client().sendto(b"x" * 60_000, site.address)
            await until(lambda: len(relay.sessions) == number + 1)  # noqa: B023  called at once
        assert relay.kept == MOST_BYTES // 60_000 * 60_000
        site.relays.open("dns", "closed")
        site.relays.open("dns", "open")
        assert relay.kept == 0


async def test_a_target_that_cannot_be_reached_is_logged_once(
    site: Site, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    site.relays.targets = lambda _alias: [("255.255.255.255", 9)]  # connecting to broadcast is refused
    site.relays.open("dns", "open")
    (relay,) = site.relays._relays.values()
    for _ in range(5):
        client().sendto(b"x", site.address)
    await taken(site)
    assert (len(caplog.records), len(relay.sessions)) == (1, 0)
    assert "cannot pass datagrams on" in caplog.text


async def test_datagrams_are_dropped_after_a_failure(site: Site, client: Client) -> None:
    one = client()
    async with serving() as (server, site.port):
        one.sendto(b"lost", site.address)
        await until(lambda: site.wanted)
        site.relays.open("dns", "failed")
        one.sendto(b"lost, too", site.address)
        await taken(site)
        site.relays.open("dns", "closed")
        one.sendto(b"kept", site.address)
        await until(lambda: len(site.wanted) == 2)
        site.relays.open("dns", "open")
        assert await answer(one) == b"re: kept"
        assert server.received == [b"kept"]


async def test_idle_sessions_end(site: Site, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "SESSION_IDLE", 0.05)
    monkeypatch.setattr(datagrams, "_SWEEP", 0.02)
    one = client()
    async with serving() as (_, site.port):
        site.relays.open("dns", "open")
        one.sendto(b"once", site.address)
        assert await answer(one) == b"re: once"
        await until(lambda: site.changes == [1, 0])
        assert site.relays.sessions == site.relays.in_progress("dns") == 0


async def test_further_clients_are_dropped(site: Site, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    site.relays.most_sessions = 1
    async with serving() as (server, site.port):
        site.relays.open("dns", "open")
        first, *others = (client() for _ in range(3))
        first.sendto(b"first", site.address)
        assert await answer(first) == b"re: first"
        for each in others:
            each.sendto(b"more", site.address)
        await taken(site)
        assert server.received == [b"first"]
        assert len(caplog.records) == 1
        assert "datagrams from further clients are dropped" in caplog.text


async def test_sessions_to_an_address_that_is_gone_end_with_the_next_wake(site: Site, client: Client) -> None:
    one = client()
    async with serving() as (_, site.port):
        site.relays.open("dns", "open")
        one.sendto(b"before", site.address)
        assert await answer(one) == b"re: before"
    site.relays.open("dns", "closed")
    async with serving() as (server, site.port):
        site.relays.open("dns", "open")
        one.sendto(b"after", site.address)
        assert await answer(one) == b"re: after"
        assert server.received == [b"after"]


async def test_a_route_is_quiet_once_no_answer_is_expected(
    site: Site,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datagrams, "_QUIET", 0.3)
    one = client()
    async with serving() as (_, site.port):
        site.relays.open("dns", "open")
        one.sendto(b"x", site.address)
        await answer(one)
        waiting = asyncio.ensure_future(site.relays.until_quiet(["dns", "unknown"]))
        await asyncio.sleep(0)
        assert not waiting.done()
        async with asyncio.timeout(10):
            await waiting


async def test_datagrams_that_still_wait_when_their_route_is_closed_are_dropped(
    site: Site, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagrams, "_PAUSE", 0.0)
    one = client()
    for _ in range(2):
        one.sendto(bytes(datagrams._PORTION + 1), site.address)
    await taken(site)
    async with serving() as (_, site.port):
        site.relays.open("dns", "open")
        assert site.relays.sessions == 1
        site.relays.close("dns")
        for _ in range(3):
            await asyncio.sleep(0)
        assert site.relays.sessions == 0


async def test_nothing_is_open_after_closing(site: Site, client: Client) -> None:
    one = client()
    async with serving() as (_, site.port):
        site.relays.open("dns", "open")
        one.sendto(b"x", site.address)
        await answer(one)
        site.relays.close("dns")
        site.relays.close("unknown")
        assert site.relays.sessions == site.relays.in_progress("dns") == 0
