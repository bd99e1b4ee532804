"""Encrypts and decrypts data at one end of a TLS connection, without a socket. Pure.

In asyncio's own TLS, a connection ends in both directions at once. Here each direction ends by itself: with
``close_notify``, as a TCP connection does with FIN.
"""

from __future__ import annotations

import ssl
from typing import Final

__all__ = ["TLSEnd"]

_RECORD: Final = 16 * 1024  # the longest plaintext of a TLS record


class TLSEnd:
    """One end of a connection.

    Args:
        context: the TLS settings.
        server_hostname: the name that the server's certificate must have; ``None`` on the server.

    Attributes:
        is_open: whether the handshake is complete.
        has_ended: whether the other end has announced that it sends nothing more.

    """

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None = None) -> None:
        self.is_open = False
        self.has_ended = False
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(
            self._received, self._to_send, server_side=server_hostname is None, server_hostname=server_hostname
        )

    @property
    def protocol(self) -> str | None:
        """The negotiated protocol (ALPN); ``None`` if there is none."""
        return self._ssl.selected_alpn_protocol()

    def begin(self) -> None:
        """Begin or continue the handshake.

        Raises:
            ssl.SSLError: the handshake fails.

        """
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.is_open = True

    def receive(self, data: bytes | memoryview) -> list[bytes]:
        """Take data from the network, and return the plaintext in it.

        Raises:
            ssl.SSLError: the received data is not valid, or the other end refuses the connection.

        """
        self._received.write(data)
        if not self.is_open:
            self.begin()
        found: list[bytes] = []
        try:
            while self.is_open and not self.has_ended:
                if piece := self._ssl.read(_RECORD):
                    found.append(piece)
                else:
                    self.has_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.has_ended = True
        return found

    def send(self, data: bytes | memoryview) -> None:
        """Encrypt data. The connection must be open, and :meth:`end` must not have been called."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._ssl.write(rest) :]

    def end(self) -> None:
        """Announce that this end sends nothing more. The other end may continue to send."""
        try:
            self._ssl.unwrap()
        except ssl.SSLError:  # the other direction has not ended yet, or the connection is broken
            return

    def to_send(self) -> bytes:
        """Return the data to send over the network, and remove it from the buffer."""
        return self._to_send.read()
