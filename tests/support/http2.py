"""Just enough HTTP/2 (RFC 9113) to write frames that no well-behaved client sends."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

__all__ = ["CONTINUATION", "END_HEADERS", "GOAWAY", "HEADERS", "PING", "RST_STREAM", "SETTINGS", "Http2", "fields"]

HEADERS: Final = 1
RST_STREAM: Final = 3
SETTINGS: Final = 4
PING: Final = 6
GOAWAY: Final = 7
CONTINUATION: Final = 9
END_HEADERS: Final = 4

_END_STREAM: Final = 1


def fields(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Encode a header block without compression (RFC 7541, 6.2.2)."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in pairs)


def _text(text: str) -> bytes:
    data = text.encode("latin-1")
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, more = len(data) - 127, bytearray()
    while rest >= 128:
        more.append(rest % 128 + 128)
        rest //= 128
    return b"\x7f" + bytes(more) + bytes((rest,)) + data


class Http2:
    """A connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._received = bytearray()
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(SETTINGS, 0, 0, b""))

    @staticmethod
    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload

    def send(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self.connection.sendall(self.frame(kind, flags, stream, payload))

    def request(
        self, stream: int, host: str, *more: tuple[str, str], end: bool = True, path: str = "/", method: str = "GET"
    ) -> None:
        pairs = [(":method", method), (":scheme", "http"), (":path", path), (":authority", host), *more]
        self.send(HEADERS, END_HEADERS | (_END_STREAM if end else 0), stream, fields(pairs))

    def frames(self, *, patience: float = 10) -> Iterable[tuple[int, int, int, bytes]]:
        """Yield frames until the connection is closed, or nothing comes any more."""
        self.connection.settimeout(patience)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                while len(self._received) >= 9:
                    end = 9 + int.from_bytes(self._received[:3])
                    if len(self._received) < end:
                        break
                    frame = bytes(self._received[:end])
                    del self._received[:end]
                    yield frame[3], frame[4], int.from_bytes(frame[5:9]) & 0x7FFFFFFF, frame[9:]
                data = self.connection.recv(65536)
                if not data:
                    return
                self._received += data

    def statuses(self, *streams: int) -> dict[int, str]:
        """Return what came of these streams: ``200``, ``4xx``, ``reset`` or ``goaway``.

        Only statuses that HPACK encodes in one byte are distinguished; all others are ``4xx``.
        """
        found: dict[int, str] = {}
        for kind, _, stream, payload in self.frames():
            if kind == HEADERS:
                found.setdefault(stream, {0x88: "200", 0x8C: "400", 0x8D: "404"}.get(payload[0], "4xx"))
            elif kind == RST_STREAM:
                found.setdefault(stream, "reset")
            elif kind == GOAWAY:
                return found | {it: "goaway" for it in streams if it not in found}
            if found.keys() >= set(streams):
                return found
        return found | {it: "closed" for it in streams if it not in found}
