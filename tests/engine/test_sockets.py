from __future__ import annotations

import asyncio
import socket

import pytest

from pilotage.engine.sockets import failure_text, open_tcp


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_a_connected_socket_has_keep_alive_enabled(host: str) -> None:
    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(accept, "::1" if host == "::1" else "127.0.0.1", 0)
    async with server:
        with await open_tcp(host, server.sockets[0].getsockname()[1]) as sock:
            assert sock.getpeername()
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            if hasattr(socket, "TCP_KEEPIDLE"):  # a dead line shows within half a minute, whatever the system's default
                names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                idle, interval, count = (sock.getsockopt(socket.IPPROTO_TCP, name) for name in names)
                assert idle + interval * count <= 30


async def test_a_refusal_keeps_its_number_also_when_several_addresses_refuse() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(ConnectionRefusedError):
            await open_tcp(host, port)


async def test_an_unknown_name_is_a_resolution_error() -> None:
    with pytest.raises(socket.gaierror):
        await open_tcp("engine.invalid", 2375)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "no answer within 5 s"),
        (TimeoutError(110, "x"), "connection timed out"),
        (ConnectionRefusedError(111, "Connect call failed ('10.0.0.2', 1)"), "connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "name or service not known"),
        (UnicodeError("label empty"), "not a valid host name"),
        (ConnectionResetError("the agent closed the tunnel"), "the agent closed the tunnel"),
    ],
)
def test_a_failure_is_described_without_addresses(error: OSError | ValueError, text: str) -> None:
    assert failure_text(error, 5.0) == text
