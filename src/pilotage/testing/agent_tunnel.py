"""Implements the agent's end of a tunnel for :class:`pilotage.testing.FakeAgent`. Each direction ends by itself."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

    from pilotage.engine.tls_end import TLSEnd

__all__ = ["Wire", "copy_to_client", "copy_to_target", "listen_at", "peek"]

_HEADER: Final = 275
_CHUNK: Final = 64 * 1024


class Wire:
    """The agent's end of a tunnel."""

    def __init__(self, connection: socket.socket, tls: TLSEnd) -> None:
        self._connection = connection
        self._tls = tls
        self._plain = bytearray()
        self._writing = asyncio.Lock()

    async def read(self) -> bytes:
        """Wait for data from the client and return it; return ``b""`` once the client has ended its direction."""
        loop = asyncio.get_running_loop()
        while not self._plain and not self._tls.has_ended:
            data = await loop.sock_recv(self._connection, _CHUNK)
            if not data:
                raise ConnectionResetError
            for piece in self._tls.receive(data):
                self._plain += piece
            await self._send()
        found = bytes(self._plain)
        self._plain.clear()
        return found

    async def read_header(self) -> tuple[bytes, bytes]:
        """Return the tunnel's header, and the data that arrived together with the header."""
        found = b""
        while len(found) < _HEADER:
            data = await self.read()
            if not data:
                raise ConnectionResetError
            found += data
        return found[:_HEADER], found[_HEADER:]

    async def write(self, data: bytes) -> None:
        """Send data to the client; wait until the socket has accepted all data."""
        self._tls.send(data)
        await self._send()

    async def end(self) -> None:
        """End the direction to the client: send nothing more."""
        self._tls.end()
        await self._send()

    async def _send(self) -> None:
        async with self._writing:
            if data := self._tls.to_send():
                await asyncio.get_running_loop().sock_sendall(self._connection, data)


async def copy_to_target(client: Wire, begin: bytes, target: StreamWriter) -> None:
    """Send ``begin``, which was already read, then the client's data to the target until the client ends."""
    data = begin or await client.read()
    while data:
        target.write(data)
        await target.drain()
        data = await client.read()
    target.write_eof()


async def copy_to_client(target: StreamReader, client: Wire) -> None:
    """Copy what the target sends to the client, until the target ends its direction."""
    while data := await target.read(_CHUNK):
        await client.write(data)
    await client.end()


def listen_at(port: int, *, udp: bool) -> tuple[socket.socket, socket.socket | None]:
    """Return a listening TCP socket on loopback and, with ``udp``, a UDP socket with the same port number.

    Args:
        port: the port; 0 for any free port.
        udp: whether to open the UDP socket, too.

    Raises:
        OSError: the port is in use.

    """
    while True:
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        listener.setblocking(False)  # noqa: FBT003
        if not udp:
            return listener, None
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.setblocking(False)  # noqa: FBT003
        try:
            datagrams.bind(listener.getsockname())
        except OSError:
            datagrams.close()
            listener.close()
            if port:
                raise
        else:
            return listener, datagrams


async def peek(connection: socket.socket) -> bytes:
    """Return the first bytes of a connection, the TLS ClientHello, without consuming them."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection, _settle, readable)
    try:
        await readable
    finally:
        loop.remove_reader(connection)
    return connection.recv(_CHUNK, socket.MSG_PEEK)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
