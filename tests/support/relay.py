"""A plain TCP port for an engine with a unix socket.

``dockerd`` uses TLS on all of its TCP ports or on none, and without TLS it delays each start by a second.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TcpRelay"]

_CHUNK: Final = 65536


class TcpRelay(socketserver.ThreadingTCPServer):
    """Forwards every connection to ``127.0.0.1:port`` to a unix socket, byte for byte, half-closes included."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, target: Path) -> None:
        self.target = target
        super().__init__(("127.0.0.1", 0), _Passage)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """The address as ``DOCKER_HOST`` wants it."""
        return f"tcp://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        """Stop accepting and free the port."""
        self.shutdown()
        self.server_close()


class _Passage(socketserver.BaseRequestHandler):
    server: TcpRelay

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as engine:
            try:
                engine.connect(str(self.server.target))
            except OSError:
                return
            back = threading.Thread(target=_copy, args=(engine, self.request), daemon=True)
            back.start()
            _copy(self.request, engine)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
