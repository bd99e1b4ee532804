"""Carries one connection of Envoy through a tunnel of an agent.

A tunnel is a TLS connection to the agent. It begins with a header that names the target. If Envoy or the target stops
sending, pilotage forwards the end of that direction and keeps the other direction open. If one side reads slowly,
pilotage reads from the other side more slowly, too.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final, Protocol

from pilotage.engine.agents import TUNNEL_PROTOCOL, tunnel_header
from pilotage.engine.credentials import AGENT_NAME, CredentialsError
from pilotage.engine.sockets import failure_text, open_tcp
from pilotage.engine.tls_end import TLSEnd

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pilotage.gateway.hangups import Hangups
    from pilotage.xds.agent import Agent, Tunnel

__all__ = ["BUFFERED", "Owner", "TunnelConnection"]

BUFFERED: Final = 64 * 1024
"""Bytes per read, and bytes that may wait for a slow reader in each direction before reading pauses."""

_OPENING: Final = 10.0  # seconds until a tunnel must be open; agents take as long to reach a target
_WAITING: Final = 30.0  # seconds for that, including the wait for earlier tunnels to the same agent
_LAST_BYTES: Final = 60.0  # seconds for what has been sent before the end of a connection


class Owner(Protocol):
    """The part of the relay that connections use.

    Attributes:
        buffer: the buffer into which all connections read, one after another.
        hangups: detects connections that Envoy has closed in both directions.

    """

    buffer: memoryview
    hangups: Hangups

    def agent(self, address: str) -> Agent | None:
        """Return the agent with this address; ``None`` if it is no longer configured."""

    def turn(self, agent: str) -> asyncio.Semaphore:
        """Return the semaphore that limits how many tunnels to the agent with this address are opened at once."""

    def context(self, agent: str) -> ssl.SSLContext:
        """Return the TLS settings for the agent with this address, or raise CredentialsError."""

    def note(self, tunnel: Tunnel, failure: str) -> None:
        """Log why a tunnel cannot be opened."""

    def left(self, connection: TunnelConnection) -> None:
        """Forget a connection that has ended."""


class TunnelConnection:
    """A connection that Envoy opened, and the tunnel that carries its data."""

    def __init__(self, owner: Owner, tunnel: Tunnel, accepted: socket.socket) -> None:
        accepted.setblocking(False)  # noqa: FBT003
        self.tunnel = tunnel
        self._owner = owner
        self._socket = accepted
        self._near = _Side(owner.buffer, self._from_near, self._near_ended, self._near_lost)
        self._far = _Side(owner.buffer, self._from_far, self._far_ended, self._far_lost)
        self._near.peer, self._far.peer = self._far, self._near
        self._tls: TLSEnd | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hung_up = False
        self._limit: asyncio.TimerHandle | None = None
        owner.hangups.watch(accepted.fileno(), self._hang_up)
        self._task = asyncio.create_task(self._open(), name=f"tunnel to {tunnel.place}")
        self._task.add_done_callback(self._settle)

    def abort(self) -> None:
        """Close the connection and its tunnel at once, without sending pending data."""
        self._task.cancel()
        self._opened.cancel()
        for side in (self._near, self._far):
            if side.transport is not None:
                side.transport.abort()

    # ---- its beginning

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(_WAITING), self._owner.turn(self.tunnel.agent), asyncio.timeout(_OPENING):
                await self._open_tunnel()
                await asyncio.get_running_loop().connect_accepted_socket(lambda: self._near, self._socket)
        except (OSError, ValueError, CredentialsError) as error:
            self._fail(error.what if isinstance(error, CredentialsError) else failure_text(error, _OPENING))
        else:
            if self._far.transport is not None:
                self._far.transport.resume_reading()

    def _settle(self, _task: asyncio.Task[None]) -> None:
        """Clean up after the task that opens the tunnel, if it failed or was cancelled, even before it began."""
        if self._near.transport is None:
            self._owner.hangups.forget(self._socket.fileno())
            self._socket.close()
            self._near.is_gone = True
            self.abort()
            self._leave()

    async def _open_tunnel(self) -> None:
        agent = self._owner.agent(self.tunnel.agent)
        if agent is None:
            raise ConnectionAbortedError("the agent is no longer configured")
        header = tunnel_header(self.tunnel.host, self.tunnel.port)
        self._tls = tls = TLSEnd(self._owner.context(agent.address), AGENT_NAME)
        connected = await open_tcp(agent.ip or agent.host, agent.port)
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: self._far, sock=connected)
        except BaseException:
            if self._far.transport is None:  # or else asyncio closes it
                connected.close()
            raise
        tls.begin()
        self._send()
        await self._opened
        if tls.protocol != TUNNEL_PROTOCOL:
            raise ConnectionRefusedError("the agent does not support tunnels")
        tls.send(header)
        self._send()
        transport.pause_reading()

    def _send(self) -> None:
        if self._tls is not None and self._far.transport is not None and (data := self._tls.to_send()):
            self._far.transport.write(data)

    def _fail(self, why: str) -> None:
        self._owner.note(self.tunnel, why)
        self.abort()

    # ---- from Envoy to the agent

    def _from_near(self, data: memoryview) -> None:
        if self._tls is not None:
            self._tls.send(data)
            self._send()

    def _near_ended(self) -> None:
        if self._tls is not None:
            self._tls.end()
            self._send()
        if self._hung_up or (self._tls is not None and self._tls.has_ended):
            self._end()

    def _hang_up(self) -> None:
        """End the tunnel after Envoy has closed its connection, once all data from Envoy has been passed on."""
        self._hung_up = True
        if self._near.has_ended:
            self._end()
        elif self._limit is None:
            self._limit = asyncio.get_running_loop().call_later(_LAST_BYTES, self.abort)

    def _near_lost(self, error: Exception | None) -> None:
        self._owner.hangups.forget(self._socket.fileno())
        if self._far.transport is None or error is not None:
            self.abort()
        else:
            self._far.transport.close()
        self._leave()

    # ---- from the agent to Envoy

    def _from_far(self, data: memoryview) -> None:
        tls, near = self._tls, self._near.transport
        if tls is None:
            return
        had_ended = tls.has_ended
        try:
            found = tls.receive(data)
        except ssl.SSLError as error:
            self._break(error)
            return
        self._send()
        if near is None:
            if found or tls.has_ended:
                self._break(ConnectionResetError("the agent closed the tunnel"))
            elif tls.is_open and not self._opened.done():
                self._opened.set_result(None)
            return
        if near.is_closing():
            return
        if found:
            near.write(found[0] if len(found) == 1 else b"".join(found))
        if tls.has_ended and not had_ended:
            near.write_eof()
            if self._near.has_ended:
                self._end()

    def _break(self, error: OSError) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
        else:
            self._fail(failure_text(error, _OPENING))

    def _far_ended(self) -> None:
        if self._near.transport is None:
            self._break(ConnectionResetError("the agent closed the tunnel"))
        elif self._tls is not None and self._tls.has_ended:
            self._end()
        else:
            self.abort()

    def _far_lost(self, error: Exception | None) -> None:
        near = self._near.transport
        if not self._opened.done():
            self._opened.set_exception(error or ConnectionResetError("the agent closed the tunnel"))
        elif near is not None and error is None and self._tls is not None and self._tls.has_ended:
            near.close()
        else:
            self.abort()
        self._leave()

    # ---- its end

    def _end(self) -> None:
        """Close both sides once all pending data has been written."""
        if self._limit is None:
            self._limit = asyncio.get_running_loop().call_later(_LAST_BYTES, self.abort)
        for side in (self._near, self._far):
            if side.transport is not None:
                side.transport.close()

    def _leave(self) -> None:
        if self._near.is_gone and (self._far.is_gone or self._far.transport is None):
            if self._limit is not None:
                self._limit.cancel()
            self._owner.left(self)


class _Side(asyncio.BufferedProtocol):
    """Envoy's or the agent's side. If this side cannot write as fast as its peer reads, the peer pauses reading."""

    peer: _Side

    def __init__(
        self,
        buffer: memoryview,
        received: Callable[[memoryview], object],
        ended: Callable[[], object],
        lost: Callable[[Exception | None], object],
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self.has_ended = False
        self.is_gone = False
        self._buffer = buffer
        self._received, self._ended, self._lost = received, ended, lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # that of a stream
        transport.set_write_buffer_limits(high=BUFFERED)  # type: ignore[attr-defined]

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._received(self._buffer[:nbytes])

    def eof_received(self) -> bool:
        if not self.has_ended:  # once more if reading resumes
            self.has_ended = True
            self._ended()
        return True  # the other direction goes on

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone = True
        self._lost(exc)

    def pause_writing(self) -> None:
        if self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer.transport is not None and not self.peer.has_ended:
            self.peer.transport.resume_reading()
