"""Forwards one HTTP/1.1 request to another server, and returns the response byte for byte, like a reverse proxy."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import AsyncIterator

__all__ = ["Head", "copy_bytes", "forward", "read_head"]

_PIECE: Final = 64 * 1024
_NO_BODY: Final = (204, 304)


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """The head of a request or a response.

    Attributes:
        first: the first line.
        fields: the header fields in order, as received.

    """

    first: str
    fields: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """Return the last value of the field with this name; ``""`` if the head has no such field."""
        found = [value for key, value in self.fields if key.lower() == name]
        return found[-1] if found else ""

    def replaced(self, *fields: tuple[str, str]) -> Self:
        """Return a copy with these fields in place of others with the same names; an empty value removes them."""
        names = {name.lower() for name, _ in fields}
        kept = [field for field in self.fields if field[0].lower() not in names]
        return dataclasses.replace(self, fields=(*kept, *(field for field in fields if field[1])))

    def encode(self) -> bytes:
        """Return the head as it is sent."""
        return "\r\n".join([self.first, *(f"{name}: {value}" for name, value in self.fields), "", ""]).encode("latin-1")


async def read_head(reader: StreamReader) -> Head | None:
    """Read a head; return ``None`` if the connection ends before the head is complete."""
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = text[:-4].split("\r\n")
    split = (line.partition(":") for line in lines)
    return Head(first, tuple((name, value.strip()) for name, _, value in split))


async def copy_bytes(reader: StreamReader, writer: StreamWriter) -> None:
    """Copy bytes until the connection ends."""
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()


async def forward(
    request: Head, client: tuple[StreamReader, StreamWriter], server: tuple[StreamReader, StreamWriter], *, late: bool
) -> bool:
    """Forward a request and its response.

    Args:
        request: the head to send to the server. The body, if any, is still unread.
        client: the connection on which the request arrived.
        server: a connection for this request alone.
        late: whether the client gets the response's head only together with the first byte of the response's body.

    Returns:
        Whether the client can send another request on the same connection.

    Raises:
        ConnectionError: the server closed its connection before it responded.

    """
    reader, writer = client
    is_upgrade = bool(request.get("upgrade"))
    server[1].write((request if is_upgrade else request.replaced(("Connection", "close"))).encode())
    sending = asyncio.create_task(_copy_body(_body(request, reader, is_request=True), server[1]))
    try:
        while (head := await read_head(server[0])) is not None and head.first.split(" ")[1] == "100":
            writer.write(head.encode())
        if head is None:
            raise ConnectionResetError("no response")
        if head.first.split(" ")[1] == "101":
            writer.write(head.encode())
            await _both_ways(client, server)
            return False
        await _respond(request, head, server[0], writer, late=late)
        return sending.done() and sending.exception() is None
    finally:
        sending.cancel()
        await asyncio.wait([sending])


async def _respond(request: Head, head: Head, server: StreamReader, writer: StreamWriter, *, late: bool) -> None:
    bare = request.first.startswith("HEAD ") or int(head.first.split(" ")[1]) in _NO_BODY
    framed = bare or head.get("transfer-encoding") or head.get("content-length")
    head = head.replaced(("Connection", ""))
    head = head if framed else head.replaced(("Transfer-Encoding", "chunked"))
    begin = head.encode()
    if not late or bare:
        writer.write(begin)
        begin = b""
    if bare:
        return
    body = _body(head, server) if framed else _chunked(server)
    async for data in body:
        writer.write(begin + data)
        begin = b""
        await writer.drain()
    writer.write(begin)


async def _both_ways(client: tuple[StreamReader, StreamWriter], server: tuple[StreamReader, StreamWriter]) -> None:
    """Copy in both directions until one side ends."""
    tasks = [
        asyncio.create_task(copy_bytes(client[0], server[1])),
        asyncio.create_task(copy_bytes(server[0], client[1])),
    ]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _copy_body(body: AsyncIterator[bytes], writer: StreamWriter) -> None:
    async for data in body:
        writer.write(data)
        await writer.drain()


async def _body(head: Head, reader: StreamReader, *, is_request: bool = False) -> AsyncIterator[bytes]:
    """Yield a body in pieces, exactly as received."""
    if head.get("transfer-encoding").lower() == "chunked":
        while True:
            line = await reader.readuntil(b"\r\n")
            yield line
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            async for data in _exactly(reader, size + 2):
                yield data
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":  # trailers
            yield line
        yield line
    elif length := int(head.get("content-length") or "0"):
        async for data in _exactly(reader, length):
            yield data
    elif not is_request and not head.get("content-length"):
        while data := await reader.read(_PIECE):
            yield data


async def _exactly(reader: StreamReader, left: int) -> AsyncIterator[bytes]:
    while left:
        data = await reader.read(min(left, _PIECE))
        if not data:
            raise ConnectionResetError("the body is incomplete")
        left -= len(data)
        yield data


async def _chunked(reader: StreamReader) -> AsyncIterator[bytes]:
    """Yield a body that lasts until its connection ends, encoded as chunks."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_PIECE):
            yield b"%x\r\n%b\r\n" % (len(data), data)
    yield b"0\r\n\r\n"
