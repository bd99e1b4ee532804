"""Provides a fake of GoDoxy's agent: an engine's API, a proxy and a tunnel to containers, over mutual TLS."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import os
import ssl
import time
import urllib.parse
import zlib
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from pilotage.engine.tls_end import TLSEnd
from pilotage.testing.agent_tunnel import Wire, copy_to_client, copy_to_target, listen_at, peek
from pilotage.testing.http_forward import Head, forward, read_head

if TYPE_CHECKING:
    import socket
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Coroutine

    from pilotage.engine.credentials import Credentials
    from pilotage.testing.agent_udp import UdpTunnels

__all__ = ["FakeAgent"]

_ROOT: Final = "/godoxy/agent"
_PROXY: Final = f"{_ROOT}/proxy/http/"
_STREAM: Final = "godoxy-agent-stream/1"
_CLOSE_AT_ONCE: Final = 1
_PATIENCE: Final = 10.0  # seconds for the header of a tunnel, and to connect to a target
_HEAD_LIMIT: Final = 256 * 1024
_UNREACHABLE: Final = b"<!doctype html><title>502</title><h1>Origin server is not reachable</h1>\n"


class FakeAgent:
    """A fake agent in front of an engine, for tests. It behaves as GoDoxy's agent 0.31 does, defects included.

    It is an asynchronous context manager. Clients must present a certificate if ``context`` requires it.

    Args:
        engine: URL of the engine, ``unix:///…`` or ``tcp://host:port``.
        context: the TLS context of the agent's server, with its certificate and the CA of its clients.
        name: the name that the agent reports.
        version: the version that the agent reports. Agents before 0.18.6 expect other headers in requests to the proxy.
        runtime: ``docker`` or ``podman``.
        port: the loopback port on which the agent listens; 0 for any free port.
        has_info: whether the agent has the path ``/info``; older agents have ``/name``, ``/version`` and ``/runtime``.
        udp: the certificate and key of the agent's DTLS server, and the CA of its clients; ``None`` for an agent that
            does not tunnel udp. Needs pyOpenSSL.

    Attributes:
        calls: number of requests by kind: ``info``, ``health``, ``proxy``, ``engine``, ``tunnel``, ``probe``, ``udp``,
            ``udp probe``.
        proxied: method, path and headers of each request to a container.
        is_silent: set this to accept connections, but never respond.
        latency: seconds by which each health check is delayed.

    """

    def __init__(
        self,
        engine: str,
        context: ssl.SSLContext,
        *,
        name: str = "agent",
        version: str = "v0.31.0",
        runtime: str = "docker",
        port: int = 0,
        has_info: bool = True,
        udp: Credentials | None = None,
    ) -> None:
        self.engine = engine
        self.name = name
        self.version = version
        self.runtime = runtime
        self.port = port
        self.has_info = has_info
        self.calls: Counter[str] = Counter()
        self.proxied: list[tuple[str, str, dict[str, str]]] = []
        self.is_silent = False
        self.latency = 0.0
        self.use(context, udp)
        self._udp: UdpTunnels | None = None
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._undecided: set[socket.socket] = set()  # connections that asyncio does not own

    @property
    def address(self) -> str:
        """The agent's address, ``host:port``; valid once the agent listens."""
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.crash()

    async def listen(self) -> None:
        """Start listening, at the previous port if the agent has listened before."""
        self._listener, datagrams = listen_at(self.port, udp=self._udp_credentials is not None)
        self.port = self._listener.getsockname()[1]
        if self._udp_credentials is not None and datagrams is not None:
            from pilotage.testing.agent_udp import UdpTunnels  # noqa: PLC0415  # needs an optional package

            self._udp = UdpTunnels(datagrams, self._udp_credentials, self.calls)
        self._start(self._accept_all(self._listener))

    def use(self, context: ssl.SSLContext, udp: Credentials | None = None) -> None:
        """Use another TLS context, and other certificates for udp, starting with the next :meth:`listen`."""
        self._udp_credentials = udp
        context.set_alpn_protocols(["http/1.1", _STREAM])
        self._context = context

    async def crash(self) -> None:
        """Stop listening and abort all connections. :meth:`listen` starts it again."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        if self._udp is not None:
            self._udp.close()
            self._udp = None
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    # ---- connections

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept_all(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(listener)
            self._undecided.add(accepted)
            self._start(self._begin(accepted, self._context)).add_done_callback(partial(self._decided, accepted))

    def _decided(self, accepted: socket.socket, _task: asyncio.Task[None]) -> None:
        """Close a connection that asyncio does not own, even if its task was cancelled before it began."""
        if accepted in self._undecided:
            self._undecided.discard(accepted)
            accepted.close()

    async def _begin(self, accepted: socket.socket, context: ssl.SSLContext) -> None:
        """Serve HTTP or a tunnel, as the TLS greeting asks. Only a tunnel's two directions end separately."""
        try:
            if _STREAM.encode() not in await peek(accepted):
                self._undecided.discard(accepted)
                made = asyncio.StreamReader(_HEAD_LIMIT)
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: asyncio.StreamReaderProtocol(made, self._accept), accepted, ssl=context
                )
                return
            if self.is_silent:
                await asyncio.Event().wait()
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._tunnel(Wire(accepted, TLSEnd(context)))
        except OSError:
            return

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a promise of asyncio's to the type checker)
        self._tasks.add(task)
        gone = asyncio.create_task(_end_of(writer))
        work = asyncio.create_task(self._serve(reader, writer))
        try:
            await asyncio.wait([gone, work], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (gone, work):
                each.cancel()
            writer.transport.abort()
            await asyncio.wait([gone, work])
            if not work.cancelled():
                work.exception()  # marks it as retrieved: a broken connection is no error of the agent
            self._tasks.discard(task)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self.is_silent:
            await asyncio.Event().wait()
        while (request := await read_head(reader)) is not None:
            if not await self._handle(request, reader, writer):
                break
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def _handle(self, request: Head, reader: StreamReader, writer: StreamWriter) -> bool:
        """Respond to a request; return whether the connection can be used for another request."""
        target = request.first.split(" ")[1]
        split = urllib.parse.urlsplit(target)
        if target.startswith(_PROXY):
            return await self._proxy(request, reader, writer)
        facts = {"version": self.version, "name": self.name, "runtime": self.runtime}
        kind = split.path.removeprefix(f"{_ROOT}/") if split.path.startswith(f"{_ROOT}/") else ""
        if kind == "info" and self.has_info:
            self.calls["info"] += 1
            _answer(writer, 200, "application/json", json.dumps(facts).encode() + b"\n")
        elif kind in facts and not self.has_info:
            self.calls["info"] += 1
            _answer(writer, 200, "text/plain", facts[kind].encode())
        elif kind == "health":
            self.calls["health"] += 1
            query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
            await self._health(query, writer)
        elif kind:
            _answer(writer, 404, "application/json", b'{"message":"page not found"}\n')
        else:
            self.calls["engine"] += 1
            return await self._forward(request, reader, writer, await self._open_engine(), late=True)
        return not int(request.get("content-length") or "0")

    async def _open_engine(self) -> tuple[StreamReader, StreamWriter]:
        scheme, _, rest = self.engine.partition("://")
        if scheme == "unix":
            return await asyncio.open_unix_connection(rest, limit=_HEAD_LIMIT)
        host, _, port = rest.rpartition(":")
        return await asyncio.open_connection(host, int(port), limit=_HEAD_LIMIT)

    async def _forward(
        self,
        request: Head,
        reader: StreamReader,
        writer: StreamWriter,
        server: tuple[StreamReader, StreamWriter],
        *,
        late: bool,
    ) -> bool:
        try:
            return await forward(request, (reader, writer), server, late=late)
        except ConnectionError:
            _answer(writer, 502, "text/html; charset=utf-8", _UNREACHABLE)
            return False
        finally:
            server[1].close()
            with contextlib.suppress(OSError):
                await server[1].wait_closed()

    # ---- HTTP to containers

    async def _proxy(self, request: Head, reader: StreamReader, writer: StreamWriter) -> bool:
        self.calls["proxy"] += 1
        method, target, protocol = request.first.split(" ")
        path = target[len(_PROXY) - 1 :]
        self.proxied.append((method, path, {name.lower(): value for name, value in request.fields}))
        is_chunked = bool(request.get("transfer-encoding"))
        keep = not is_chunked and not int(request.get("content-length") or "0")
        try:
            scheme, options = self._options(request)
        except (ValueError, binascii.Error) as error:
            _answer(writer, 400, "text/plain", f"failed to parse agent proxy config: {error}\n".encode())
            return keep
        host, port = _host_and_port(request.get("x-proxy-host"), 443 if scheme == "https" else 80)
        peer = writer.get_extra_info("peername")[0]
        seen = request.get("x-forwarded-for")
        changed = Head(f"{method} {path} {protocol}", request.fields).replaced(
            ("X-Forwarded-Host", request.get("host")),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Method", method),
            ("X-Forwarded-For", f"{seen}, {peer}" if seen else peer),
            ("X-Forwarded-Uri", ""),
            ("Accept-Encoding", request.get("accept-encoding") or "gzip"),
        )
        try:
            async with asyncio.timeout(_PATIENCE):
                context = _to_target(options) if scheme == "https" else None
                server = await asyncio.open_connection(host, port, ssl=context, limit=_HEAD_LIMIT)
        except (OSError, TimeoutError, ValueError):
            _answer(writer, 502, "text/html; charset=utf-8", _UNREACHABLE)
            return keep
        return await self._forward(changed, reader, writer, server, late=False)

    def _options(self, request: Head) -> tuple[str, dict[str, Any]]:
        """Return the scheme and the options of the target that the request's headers describe.

        Raises:
            ValueError: the headers are invalid.

        """
        scheme, config = request.get("x-proxy-scheme"), request.get("x-proxy-config")
        if (scheme or config) and tuple(map(int, self.version.removeprefix("v").split("."))) >= (0, 18, 6):
            return scheme, json.loads(base64.b64decode(config, validate=True))
        is_https = request.get("x-proxy-https") == "true"
        skip = request.get("x-proxy-skip-tls-verify") == "true"
        return "https" if is_https else "http", {"no_tls_verify": skip}

    # ---- health

    async def _health(self, query: dict[str, str], writer: StreamWriter) -> None:
        if not query.get("scheme") or not (query.get("host") or query.get("path")):
            _answer(writer, 400, "application/json", b'{"message":"missing parameters"}\n')
            return
        began = time.monotonic_ns()
        await asyncio.sleep(self.latency)
        detail = await _probe(query, int(query.get("timeout") or "5000") / 1000)
        found = {"healthy": detail is None, "detail": detail or "", "latency": time.monotonic_ns() - began}
        _answer(writer, 200, "application/json", json.dumps(found).encode())

    # ---- the tunnel

    async def _tunnel(self, client: Wire) -> None:
        """Connect the client to the target that its header names. Close the connection after an error."""
        async with asyncio.timeout(_PATIENCE):
            header, rest = await client.read_header()
        if header[:8] != b"0.1.0\0\0\0" or zlib.crc32(header[:271]) != int.from_bytes(header[271:], "big"):
            await client.end()
            return
        if header[270] & _CLOSE_AT_ONCE:
            self.calls["probe"] += 1
            await client.end()
            return
        self.calls["tunnel"] += 1
        host, port = (header[at + 1 : at + 1 + header[at]].decode() for at in (8, 264))
        try:
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await client.end()
            return
        tasks = [
            asyncio.create_task(copy_to_target(client, rest, writer)),
            asyncio.create_task(copy_to_client(reader, client)),
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            writer.transport.abort()
            await asyncio.wait(tasks)


async def _end_of(writer: StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _answer(writer: StreamWriter, status: int, kind: str, body: bytes) -> None:
    head = f"HTTP/1.1 {status} Status\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


def _host_and_port(text: str, port: int) -> tuple[str, int]:
    split = urllib.parse.urlsplit(f"//{text}")
    return split.hostname or "", split.port or port


def _to_target(options: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.get("ssl_trusted_certificate"))
    if options.get("no_tls_verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _probe(query: dict[str, str], limit: float) -> str | None:
    """Return why a target is not healthy; ``None`` if it is."""
    scheme, host = query["scheme"], query["host"]
    if query.get("port"):
        host = f"{host}:{query['port']}"
    if scheme.rstrip("46") == "udp":
        return None
    if scheme.rstrip("46") not in ("tcp", "http", "https", "h2c"):
        return ""
    name, port = _host_and_port(host, 443 if scheme == "https" else 80)
    try:
        async with asyncio.timeout(limit):
            context = _to_target({"no_tls_verify": True}) if scheme == "https" else None
            reader, writer = await asyncio.open_connection(name, port, ssl=context)
            try:
                if scheme.rstrip("46") == "tcp":
                    return None
                request = f"HEAD {query['path']} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                head = await read_head(reader)
            finally:
                writer.close()
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return f"dial tcp4 {host}: connect: {os.strerror(error.errno).lower() if error.errno else error}"
    if head is None:
        return "EOF"
    status = int(head.first.split(" ")[1])
    return None if status < 500 else f"{status} from the server"
