"""Sockets on which another user listens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["relay_of_user"]


@contextlib.asynccontextmanager
async def relay_of_user(path: Path, far: str, uid: int) -> AsyncIterator[str]:
    """Relay to the socket ``far`` from a new socket that ``uid`` listens on. The tests must run as root."""
    tasks: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(far)
        try:
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        finally:
            writer.transport.abort()
            far_writer.transport.abort()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(relay(reader, writer)))

    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    server = await asyncio.start_unix_server(accept, sock=sock, start_serving=False)
    os.seteuid(uid)  # the kernel remembers who listens
    try:
        await server.start_serving()
    finally:
        os.seteuid(0)
    try:
        yield f"unix://{path}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the event loop closes aborted connections in its next turn
