"""A small gRPC service, and requests to it."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio

__all__ = ["grpc_server", "grpc_upper"]


async def grpc_upper(port: int, host: str) -> bytes:
    """Send two words to a host of a gateway, and return its answers."""
    options = [("grpc.default_authority", host)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream("/test.Echo/Upper")

        async def words() -> Any:
            for word in (b"one", b"two"):
                yield word

        return b" ".join([word async for word in call(words())])


async def grpc_server(credentials: Any = None) -> tuple[grpc.aio.Server, int]:
    """Start a server that answers each word in capitals; return it and its port."""

    async def upper(requests: Any, _context: Any) -> Any:
        async for word in requests:
            yield word.upper()

    server = grpc.aio.server()
    handlers: dict[str, Any] = {"Upper": grpc.stream_stream_rpc_method_handler(upper)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    place = "127.0.0.1:0"
    port = server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
    await server.start()
    return server, port
