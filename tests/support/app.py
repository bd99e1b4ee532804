"""The program of containers in deployment tests: a web server that stops gracefully, or almost.

    python app.py NAME closes|patient|deaf LINGER

``/`` answers with NAME; ``/download?N`` sends N lines, one every tenth of a second, then more until a request for
``/enough``, and a last one; ``/chat`` is a WebSocket that echoes messages.

On its stop signal it accepts no new connections, and it exits LINGER seconds later. Until then:

``closes``    its port is closed, and connections are closed once they are idle.
``patient``   the same, but a quarter of a second later; until then it accepts connections and answers.
``deaf``      the kernel completes new connections, but the program never accepts them; existing ones continue.

It uses only the standard library, because it runs on whatever Python is mounted into the container.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import signal
import sys
from typing import Final

_BACKLOG: Final = 511
"""As nginx, Node and Redis have it."""

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


class App:
    def __init__(self, name: str) -> None:
        self.name = name
        self.closing = False
        self.enough = False
        self.idle: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while not self.closing:
                self.idle.add(writer)
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.idle.discard(writer)
                await self._answer(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.idle.discard(writer)
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = head.split(" ", 2)[1]
        fields = dict(line.lower().partition(":")[::2] for line in head.split("\r\n")[1:] if line)
        if target == "/chat":
            keys = [
                line.partition(":")[2] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key:")
            ]
            accept = base64.b64encode(hashlib.sha1((keys[0].strip() + _GUID).encode()).digest()).decode()
            upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            writer.write(f"{upgraded}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
            while said := await reader.read(65536):  # frames are echoed unchanged
                writer.write(said)
                await writer.drain()
            return
        path, _, query = target.partition("?")
        if path == "/download":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
            number = 0
            while number < int(query) or not self.enough:
                await _send_chunk(writer, f"line {number}\n".encode())
                await asyncio.sleep(0.1)
                number += 1
            await _send_chunk(writer, b"the end\n")
            await _send_chunk(writer, b"")
        else:
            self.enough |= path == "/enough"
            await reader.readexactly(int(fields.get("content-length", "0")))
            body = f"{self.name}\n"
            last = "Connection: close\r\n" if self.closing else ""
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{last}\r\n{body}".encode())
        await writer.drain()

    def close(self) -> None:
        """Close idle connections now, and the others after their response."""
        self.closing = True
        for writer in self.idle:
            writer.close()


async def _send_chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
    await writer.drain()


async def _main(name: str, end: str, linger: float) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    app = App(name)
    server = await asyncio.start_server(app.serve, "0.0.0.0", 80, backlog=_BACKLOG)
    await told.wait()
    if end == "patient":
        await asyncio.sleep(0.25)
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    if end != "deaf":
        await asyncio.sleep(0.01)  # asyncio drops connections that it has accepted but not yet passed to a handler
        server.close()
        app.close()
    await asyncio.sleep(linger)
    os._exit(0)  # open requests are cut off


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
