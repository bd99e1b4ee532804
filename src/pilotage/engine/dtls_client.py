"""Connects to an agent over DTLS. Needs pyOpenSSL: import it only where a udp tunnel is opened."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from pilotage.engine.credentials import AGENT_NAME
from pilotage.engine.dtls_end import LARGEST_DATAGRAM, DTLSEnd

if TYPE_CHECKING:
    from collections.abc import Callable

    from OpenSSL import SSL

__all__ = ["DTLSClient"]

_BATCH: Final = 64  # packets read from a socket before other sockets get their turn
_LARGEST_PACKET: Final = 65_536


class DTLSClient:
    """A DTLS connection to an agent.

    Args:
        context: from :func:`pilotage.engine.dtls_end.dtls_context`.
        place: the agent's IP address and port.
        received: called with the datagrams that have arrived.
        lost: called once, with this connection, when the agent has closed it or can no longer be reached.

    Raises:
        OSError: no network reaches the address, or no file descriptor is left.

    """

    def __init__(
        self,
        context: SSL.Context,
        place: tuple[str, int],
        received: Callable[[list[bytes]], object],
        lost: Callable[[DTLSClient], object],
    ) -> None:
        self._end = DTLSEnd(context, AGENT_NAME)
        self._received, self._lost = received, lost
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._error: OSError | None = None
        self._is_closed = False
        self._socket = socket.socket(socket.AF_INET6 if ":" in place[0] else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)  # noqa: FBT003
            self._socket.connect(place)
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket, self._receive)

    async def open(self, header: bytes) -> None:
        """Shake hands, and send the header.

        Raises:
            OSError: the agent cannot be reached, or refuses the connection.

        """
        self._end.begin()
        self._flush()
        while not self._end.is_open and self._error is None:
            self._news.clear()
            try:
                async with asyncio.timeout(self._end.patience):
                    await self._news.wait()
            except TimeoutError:
                self._end.repeat()
                self._flush()
        if self._error is not None:
            raise self._error
        self.send(header)

    def send(self, datagram: bytes) -> bool:
        """Send a datagram. Return ``False`` if it is too large. An empty one is dropped: DTLS has no such records."""
        if len(datagram) > LARGEST_DATAGRAM:
            return False
        if datagram and self._error is None and not self._is_closed:
            self._end.send(datagram)
            self._flush()
        return True

    def close(self) -> None:
        """Tell the agent that the connection ends, and close the socket."""
        if self._is_closed:
            return
        if self._end.is_open:
            self._end.end()
            self._flush()
        self._is_closed = True
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _flush(self) -> None:
        for packet in self._end.packets():
            try:
                self._socket.send(packet)
            except ConnectionRefusedError as error:
                self._fail(error)
            except OSError:  # only this packet is lost, as if a buffer on the way were full
                continue

    def _receive(self) -> None:
        found: list[bytes] = []
        failed: OSError | None = None
        for _ in range(_BATCH):
            try:
                found += self._end.receive(self._socket.recv(_LARGEST_PACKET))
            except BlockingIOError:
                break
            except OSError as error:  # nothing listens there, or the agent refuses the connection
                failed = error
                break
            if self._end.has_ended:
                failed = ConnectionResetError("the agent closed the tunnel")
                break
        self._news.set()
        self._flush()
        if found:
            self._received(found)
        if failed is not None:
            self._fail(failed)

    def _fail(self, error: OSError) -> None:
        if self._error is None:
            self._error = error
            self._news.set()
            self._loop.call_soon(self._lost, self)
