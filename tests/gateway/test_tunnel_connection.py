"""What happens to one connection through a tunnel: its data, the ends of both directions, slow readers, failures."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from pilotage.gateway.tunnel_connection import TunnelConnection
from tests.support.ports import free_port
from tests.support.tunnels import LARGE, Site, echoes, wait
from tests.support.waiting import until

if TYPE_CHECKING:
    import pytest


async def test_bytes_arrive_unchanged_in_both_directions(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(LARGE)
    assert await reader.readexactly(len(LARGE)) == LARGE
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await until(lambda: not site.tunnels.connections)
    assert site.running.calls["tunnel"] == 1


async def test_a_server_that_speaks_first_is_heard(site: Site) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")

    site.serve = greet
    reader, writer = await site.connect()
    assert await reader.readline() == b"220 ready\r\n"
    writer.close()


async def test_the_end_of_what_a_client_sends_does_not_end_the_answer(site: Site) -> None:
    async def summarize(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%d bytes" % len(await reader.read()))
        writer.close()

    site.serve = summarize
    reader, writer = await site.connect()
    writer.write(LARGE)
    writer.write_eof()
    assert await reader.read() == b"%d bytes" % len(LARGE)
    writer.close()
    await until(lambda: not site.tunnels.connections)


async def test_the_end_of_what_a_server_sends_does_not_end_the_request(site: Site) -> None:
    received = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"go on")
        writer.write_eof()
        received.set_result(await reader.read())

    site.serve = listen
    reader, writer = await site.connect()
    assert await reader.read() == b"go on"
    writer.write(LARGE)
    await writer.drain()
    writer.write_eof()
    assert await received == LARGE
    writer.close()
    await until(lambda: not site.tunnels.connections)


async def test_a_slow_server_slows_down_the_client(site: Site) -> None:
    await slows_down(site, await_reader=False)


async def test_a_slow_client_slows_down_the_server(site: Site) -> None:
    await slows_down(site, await_reader=True)


async def slows_down(site: Site, *, await_reader: bool) -> None:
    """Send without reading until nothing moves: both ends stop with bounded buffers, and nothing is lost then."""
    site.serve = wait
    client = await site.connect()
    await until(lambda: site.accepted)
    (sink, _), (_, source) = (client, site.accepted[0]) if await_reader else (site.accepted[0], client)
    for streams in (client, site.accepted[0]):
        streams[0]._transport.pause_reading()  # type: ignore[attr-defined]
    many = 4 * LARGE
    source.write(many)
    sizes: list[int] = []

    def is_still() -> bool:
        sizes.append(source.transport.get_write_buffer_size())
        return len(sizes) > 50 and len(set(sizes[-50:])) == 1

    await until(is_still)
    assert sizes[-1] > len(LARGE)
    (connection,) = site.tunnels.connections
    assert isinstance(connection, TunnelConnection)
    for side in (connection._near, connection._far):
        assert side.transport is not None
        assert side.transport.get_write_buffer_size() < 256 * 1024
    for streams in (client, site.accepted[0]):
        streams[0]._transport.resume_reading()  # type: ignore[attr-defined]
    left = len(many)
    while left:
        left -= len(await sink.read(1 << 20))
    source.write_eof()
    assert await sink.read() == b""
    for _, writer in (client, site.accepted[0]):
        writer.close()


async def test_a_target_that_refuses_ends_the_connection(site: Site) -> None:
    nobody = site.tunnel(free_port())
    site.route("nobody", nobody)
    reader, writer = await site.connect(nobody)
    assert await reader.read() == b""
    writer.close()


async def test_a_server_that_does_not_speak_the_protocol_is_not_used(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilotage.gateway.tunnels.TUNNEL_PROTOCOL", "http/1.1")
    assert not await echoes(site)
    assert "the agent does not support tunnels" in caplog.text


async def test_what_a_client_sent_before_it_left_still_arrives(site: Site) -> None:
    received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.read())
        writer.close()

    site.serve = listen
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(site.path(site.tunnel()))
        client.sendall(b"goodbye")
    assert await received == b"goodbye"
    await until(lambda: not site.tunnels.connections)


async def test_a_client_that_leaves_ends_a_silent_connection(site: Site) -> None:
    """asyncio does not notice: the client has first ended one direction, and then closed the other one."""
    site.serve = wait
    reader, writer = await site.connect()
    await until(lambda: site.accepted)
    writer.write_eof()
    assert await site.accepted[0][0].read() == b""
    assert len(site.tunnels.connections) == 1
    writer.transport.abort()
    await until(lambda: not site.tunnels.connections)
    del reader


async def test_a_client_that_leaves_while_the_agent_is_silent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.gateway.tunnel_connection._OPENING", 0.05)
    site.running.is_silent = True
    reader, writer = await site.connect()
    assert await reader.read() == b""
    writer.close()
    await until(lambda: not site.tunnels.connections)
