"""The agent's end of a tunnel, as Python's own TLS sees it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from pilotage.engine.tls_end import TLSEnd
from pilotage.testing.agent_tunnel import Wire, copy_to_client, copy_to_target, listen_at, peek
from tests.support.agents import AgentCertificates
from tests.support.datagrams import bound_datagrams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def client_of(made: AgentCertificates, folder: Path, connection: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=made.ca.decode())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    pair = folder / "client.pem"
    pair.write_bytes(made.cert + made.key)
    context.load_cert_chain(pair)
    return context.wrap_socket(connection, server_hostname="godoxy.agent")


def ask(client: ssl.SSLSocket, text: bytes, ended: threading.Event) -> bytes:
    """Send something, end that direction, and return what comes back until the other one ends."""
    client.sendall(text)
    client.settimeout(0.0)  # or unwrap waits for the end of the other direction
    with contextlib.suppress(ssl.SSLWantReadError):
        client.unwrap()
    ended.set()  # unwrap refuses an answer that comes earlier
    client.settimeout(60)
    found = b""
    with contextlib.suppress(ssl.SSLZeroReturnError):
        while data := client.recv(100):
            found += data
    return found


@contextlib.asynccontextmanager
async def asked(folder: Path, text: bytes) -> AsyncIterator[tuple[Wire, asyncio.Task[bytes], threading.Event]]:
    """Let a client ask; yield the agent's end, and what the client gets."""
    made = AgentCertificates()
    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    ended = threading.Event()

    def run() -> bytes:
        with client_of(made, folder, theirs) as client:
            return ask(client, text, ended)

    answer = asyncio.create_task(asyncio.to_thread(run))
    with mine:
        yield Wire(mine, TLSEnd(made.server_context(folder))), answer, ended


async def test_a_client_that_has_ended_still_gets_the_answer(tmp_path: Path) -> None:
    async with asked(tmp_path, b"h" * 275 + b"rest") as (wire, answer, ended):
        header, rest = await wire.read_header()
        while data := await wire.read():
            rest += data
        assert (header, rest) == (b"h" * 275, b"rest")
        await asyncio.to_thread(ended.wait)
        await wire.write(b"answer")
        await wire.end()
        assert await answer == b"answer"


async def test_both_directions_are_copied(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        await asyncio.to_thread(ended.wait)
        writer.write(data)
        writer.close()
        await writer.wait_closed()

    async with (
        await asyncio.start_server(echo, "127.0.0.1", 0) as server,
        asked(tmp_path, b"rest") as (wire, answer, ended),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        await asyncio.gather(copy_to_target(wire, b"begin", writer), copy_to_client(reader, wire))
        assert await answer == b"beginrest"
        writer.close()
        await writer.wait_closed()


async def test_what_is_peeked_can_be_read_again() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        mine.setblocking(False)
        theirs.send(b"hello")
        assert await peek(mine) == b"hello"
        assert await asyncio.get_running_loop().sock_recv(mine, 100) == b"hello"


def test_both_ports_have_one_number() -> None:
    one, two = listen_at(0, udp=True)
    assert two is not None
    with one, two:
        assert one.getsockname() == two.getsockname()
        with pytest.raises(OSError, match="in use"):
            listen_at(one.getsockname()[1], udp=True)


def test_a_port_whose_datagrams_are_taken_is_not_used() -> None:
    with bound_datagrams() as taken, pytest.raises(OSError, match="in use"):
        listen_at(taken.getsockname()[1], udp=True)
