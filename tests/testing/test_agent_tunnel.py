"""The agent's end of a tunnel, as Python's own TLS sees it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from pilotage.engine.tls_end import TLSEnd
from pilotage.testing.agent_tunnel import Wire, copy_to_client, copy_to_target, peek
from tests.support.agents import AgentCertificates

if TYPE_CHECKING:
    from pathlib import Path


def client_of(made: AgentCertificates, folder: Path, connection: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=made.ca.decode())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    pair = folder / "client.pem"
    pair.write_bytes(made.cert + made.key)
    context.load_cert_chain(pair)
    return context.wrap_socket(connection, server_hostname="godoxy.agent")


async def test_a_client_that_has_ended_still_gets_the_answer(tmp_path: Path) -> None:
    made = AgentCertificates()
    mine, theirs = socket.socketpair()
    mine.setblocking(False)

    def ask() -> bytes:
        with client_of(made, tmp_path, theirs) as client:
            client.sendall(b"h" * 275 + b"rest")
            client.settimeout(0.0)  # or unwrap waits for the end of the other direction
            with pytest.raises(ssl.SSLWantReadError):
                client.unwrap()
            client.settimeout(60)
            answer = b""
            while len(answer) < 6:
                answer += client.recv(100)
            return answer

    asked = asyncio.create_task(asyncio.to_thread(ask))
    wire = Wire(mine, TLSEnd(made.server_context(tmp_path)))
    header, rest = await wire.read_header()
    while data := await wire.read():
        rest += data
    assert (header, rest) == (b"h" * 275, b"rest")
    await wire.write(b"answer")
    assert await asked == b"answer"
    mine.close()


async def test_both_directions_are_copied(tmp_path: Path) -> None:
    made = AgentCertificates()
    mine, theirs = socket.socketpair()
    mine.setblocking(False)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    def ask() -> bytes:
        with client_of(made, tmp_path, theirs) as client:
            client.sendall(b"rest")
            client.settimeout(0.0)
            with pytest.raises(ssl.SSLWantReadError):
                client.unwrap()
            client.settimeout(60)
            answer = b""
            while len(answer) < 9:
                answer += client.recv(100)
            return answer

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        wire = Wire(mine, TLSEnd(made.server_context(tmp_path)))
        asked = asyncio.create_task(asyncio.to_thread(ask))
        await asyncio.gather(copy_to_target(wire, b"begin", writer), copy_to_client(reader, wire))
        assert await asked == b"beginrest"
        writer.close()
    mine.close()


async def test_what_is_peeked_can_be_read_again() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        mine.setblocking(False)
        theirs.send(b"hello")
        assert await peek(mine) == b"hello"
        assert await asyncio.get_running_loop().sock_recv(mine, 100) == b"hello"
