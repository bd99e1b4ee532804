"""Implements the agent's end of udp tunnels for :class:`pilotage.testing.FakeAgent`. Needs pyOpenSSL."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import zlib
from typing import TYPE_CHECKING, Final

from pilotage.engine.dtls_end import DTLSEnd, dtls_context

if TYPE_CHECKING:
    from collections import Counter

    from pilotage.engine.credentials import Credentials

__all__ = ["UdpTunnels"]

_HEADER: Final = 275
_CLOSE_AT_ONCE: Final = 1
_HANDSHAKE: Final = 22  # first byte of a packet that begins a connection
_LARGEST: Final = 65_536
_BATCH: Final = 64  # packets read from a socket before other sockets get their turn

_Address = tuple[str, int]


class UdpTunnels:
    """A server of udp tunnels. Like GoDoxy's agent, it forgets a client only when the client closes its tunnel.

    Args:
        bound: a bound socket, which this server closes.
        credentials: certificate and key of the server, and the CA of its clients.
        calls: counts tunnels (``udp``) and probes (``udp probe``).

    """

    def __init__(self, bound: socket.socket, credentials: Credentials, calls: Counter[str]) -> None:
        self.calls = calls
        self.context = dtls_context(credentials, is_server=True)
        self.clients: dict[_Address, _Client] = {}
        self.socket = bound
        asyncio.get_running_loop().add_reader(self.socket, self._receive)

    def close(self) -> None:
        """Stop at once, without telling clients."""
        asyncio.get_running_loop().remove_reader(self.socket)
        self.socket.close()
        for client in tuple(self.clients.values()):
            client.close()

    def _receive(self) -> None:
        for _ in range(_BATCH):
            try:
                packet, address = self.socket.recvfrom(_LARGEST)
            except OSError:  # nothing more, or a client is gone
                return
            client = self.clients.get(address)
            if client is None:
                if packet[:1] != bytes((_HANDSHAKE,)):
                    continue
                client = self.clients[address] = _Client(self, address)
            client.receive(packet)


class _Client:
    """One client's connection, and the socket to the target that its header names."""

    def __init__(self, server: UdpTunnels, address: _Address) -> None:
        self._server = server
        self._address = address
        self._end = DTLSEnd(server.context)
        self._header = b""
        self.is_deaf = False  # whether it has stopped passing on answers
        self._target: socket.socket | None = None

    def receive(self, packet: bytes) -> None:
        try:
            found = self._end.receive(packet)
            self._flush()
            for datagram in found:
                self._pass(datagram)
        except (OSError, ValueError):
            self.end()
            return
        if self._end.has_ended:
            self.end()

    def end(self) -> None:
        """Close the connection, and tell the client."""
        if self._end.is_open:
            self._end.end()
        self._flush()
        self.close()

    def close(self) -> None:
        self._server.clients.pop(self._address, None)
        if self._target is not None:
            self._stop_answering()
            self._target.close()

    def _pass(self, datagram: bytes) -> None:
        if self._target is not None:
            self._target.send(datagram)
            return
        self._header += datagram
        if len(self._header) < _HEADER:
            return
        header = self._header
        if header[:8] != b"0.1.0\0\0\0" or zlib.crc32(header[:271]) != int.from_bytes(header[271:], "big"):
            raise ValueError("invalid header")
        if header[270] & _CLOSE_AT_ONCE:
            self._server.calls["udp probe"] += 1
            self.end()
            return
        self._server.calls["udp"] += 1
        host, port = (header[at + 1 : at + 1 + header[at]].decode() for at in (8, 264))
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._target = socket.socket(family, socket.SOCK_DGRAM)
        self._target.setblocking(False)  # noqa: FBT003
        self._target.connect((host, int(port)))
        asyncio.get_running_loop().add_reader(self._target, self._answer, self._target)

    def _answer(self, target: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                datagram = target.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError:  # GoDoxy's agent passes on no more answers either, but leaves the connection open
                self._stop_answering()
                return
            if datagram:
                with contextlib.suppress(OSError):  # too large for a record
                    self._end.send(datagram)
                self._flush()

    def _stop_answering(self) -> None:
        self.is_deaf = True
        if self._target is not None:
            asyncio.get_running_loop().remove_reader(self._target)

    def _flush(self) -> None:
        for packet in self._end.packets():
            with contextlib.suppress(OSError):
                self._server.socket.sendto(packet, self._address)
