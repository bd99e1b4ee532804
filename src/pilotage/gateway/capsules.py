"""Reads and writes the datagrams that Envoy sends over a stream (RFC 9297, RFC 9298). Pure.

Envoy opens one stream for each udp client, with an HTTP/1.1 upgrade to ``connect-udp``. Each datagram is one capsule:
its type, its length, and a context ID, all as integers of variable length (RFC 9000, section 16), and the payload.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ACCEPTED", "REFUSED", "CapsuleReader", "capsule"]

ACCEPTED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\nCapsule-Protocol: ?1\r\n\r\n"
)
"""Response that accepts a stream of capsules."""

REFUSED: Final = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""Response that refuses a stream of capsules."""

_DATAGRAM: Final = 0  # type of a capsule that contains a datagram, and the context ID of a datagram for the target
_LARGEST: Final = 65_536 + 8
_LONGEST_HEAD: Final = 16 * 1024


class CapsuleReader:
    """Reads one stream from Envoy: the head of a request, then capsules with datagrams.

    Attributes:
        has_begun: whether the head of the request is complete.

    """

    def __init__(self) -> None:
        self.has_begun = False
        self._rest = b""

    def read(self, data: bytes) -> list[bytes]:
        """Take received data, and return the datagrams that are complete now.

        Raises:
            ValueError: the data is not a request, or contains a capsule that is too large.

        """
        data = self._rest + data if self._rest else data
        at = 0
        if not self.has_begun:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if len(data) > _LONGEST_HEAD:
                    raise ValueError("the head of the request is too long")
                self._rest = data
                return []
            self.has_begun, at = True, end + 4
        found: list[bytes] = []
        while True:
            kind, begin = _integer(data, at)
            length, begin = _integer(data, begin)
            if length > _LARGEST:
                raise ValueError("a capsule is too large")
            end = begin + length
            if begin < 0 or end > len(data):
                break
            if kind == _DATAGRAM:
                context, payload = _integer(data, begin)
                if context == _DATAGRAM and 0 <= payload <= end:
                    found.append(data[payload:end])
            at = end
        self._rest = data[at:]
        return found


def capsule(datagram: bytes) -> bytes:
    """Return a datagram as a capsule."""
    length = len(datagram) + 1
    if length < 1 << 6:
        return bytes((_DATAGRAM, length, _DATAGRAM)) + datagram
    if length < 1 << 14:
        return bytes((_DATAGRAM, 0x40 | length >> 8, length & 0xFF, _DATAGRAM)) + datagram
    return b"\0" + (0x80000000 | length).to_bytes(4, "big") + b"\0" + datagram


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """Read an integer of variable length; return it and the index of its end, or -1 for both if it is not complete."""
    if not 0 <= at < len(data):
        return -1, -1
    first = data[at]
    end = at + (1 << (first >> 6))
    if end > len(data):
        return -1, -1
    return int.from_bytes(data[at:end], "big") & ~(0xC0 << 8 * (end - at - 1)), end
