"""A udp server, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["UdpEcho", "bound_datagrams", "replies", "udp_client", "udp_echo"]


class UdpEcho(asyncio.DatagramProtocol):
    """Sends each datagram back.

    Attributes:
        port: where it listens, on loopback.
        clients: the addresses from which datagrams have come.
        is_silent: set this to only take datagrams.
        taken: number of datagrams.

    """

    def __init__(self) -> None:
        self.port = 0
        self.clients: set[tuple[str, int]] = set()
        self.is_silent = False
        self.taken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.clients.add(addr)
        self.taken += 1
        if not self.is_silent:
            self.transport.sendto(data, addr)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def udp_echo(port: int = 0) -> AsyncIterator[UdpEcho]:
    """Run a udp echo server."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(UdpEcho, ("127.0.0.1", port))
    try:
        yield server
    finally:
        transport.close()


def bound_datagrams(port: int = 0) -> socket.socket:
    """Return a socket that receives the datagrams to a port on loopback, by default a free one."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.bind(("127.0.0.1", port))
    return made


@contextlib.contextmanager
def udp_client(port: int) -> Iterator[socket.socket]:
    """Yield a client's socket, connected to a port on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        made.connect(("127.0.0.1", port))
        yield made


async def replies(client: socket.socket, datagram: bytes = b"ping", *, patience: float = 1.0) -> bytes:
    """Send a datagram; return the next answer, ``b""`` if there is none in time."""
    try:
        client.send(datagram)
        async with asyncio.timeout(patience):
            return await asyncio.get_running_loop().sock_recv(client, 1 << 16)
    except (OSError, TimeoutError):
        return b""
