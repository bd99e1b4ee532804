"""Carries the datagrams of one udp client through a tunnel of an agent.

A tunnel is a DTLS connection to the agent. Its first datagram is a header that names the target. Agents do not confirm
the header or report a lost connection, so if the target does not answer for a while, the session opens a new tunnel.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any, Final, Protocol

from pilotage.engine.agents import tunnel_header
from pilotage.engine.credentials import CredentialsError
from pilotage.engine.sockets import failure_text
from pilotage.gateway.capsules import ACCEPTED, REFUSED, CapsuleReader, capsule

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from OpenSSL import SSL

    from pilotage.engine.dtls_client import DTLSClient
    from pilotage.xds.agent import Agent, Tunnel

__all__ = ["PACKETS", "UdpOwner", "UdpTunnel"]

PACKETS: Final = socket.SOCK_SEQPACKET
"""Type of sockets that carry whole datagrams. All other sockets are connections of Envoy, which carry capsules."""

_OPENING: Final = 10.0  # seconds until a tunnel must be open
_WAITING: Final = 30.0  # seconds for that, including the wait for earlier tunnels to the same agent
_PAUSE: Final = 1.0  # seconds after a failed tunnel until the client's next datagram may open another one
_UNHEARD: Final = 2.0  # seconds without an answer after which a new tunnel is opened, doubled each time, up to:
_LONGEST_UNHEARD: Final = 60.0
_LATE: Final = 5.0  # seconds for which late answers may still come out of a tunnel that has been replaced
_BATCH: Final = 64  # datagrams read from a socket before other sockets get their turn
_WAITING_MOST: Final = 64  # datagrams that may wait until the tunnel is open
_WAITING_BYTES: Final = 128 * 1024  # their total size; clients can forge addresses, so there may be many sessions
_LARGEST_PACKET: Final = 65_536


class UdpOwner(Protocol):
    """The part of the relay that sessions use."""

    def agent(self, address: str) -> Agent | None:
        """Return the agent with this address; ``None`` if it is no longer configured."""

    def turn(self, agent: str) -> asyncio.Semaphore:
        """Return the semaphore that limits how many tunnels to the agent with this address are opened at once."""

    def dtls_context(self, agent: str) -> SSL.Context:
        """Return the DTLS settings for the agent with this address, or raise CredentialsError."""

    def note(self, tunnel: Tunnel, failure: str, what: str = ...) -> None:
        """Log why a tunnel cannot be opened, or another event."""

    def left(self, connection: UdpTunnel) -> None:
        """Forget a session that has ended."""


class UdpTunnel:
    """The session of one client: a socket from which its datagrams come, and the tunnel that carries them.

    Args:
        owner: the relay.
        tunnel: the agent and the target.
        accepted: a connection of Envoy, or a socket of type :data:`PACKETS`.

    """

    def __init__(self, owner: UdpOwner, tunnel: Tunnel, accepted: socket.socket) -> None:
        accepted.setblocking(False)  # noqa: FBT003
        self.tunnel = tunnel
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._near = _Near(accepted, self._send, self.abort)
        self._far: DTLSClient | None = None
        self._replaced: DTLSClient | None = None
        self._waiting: list[bytes] = []
        self._patience = _UNHEARD
        self._asked = 0.0  # when the oldest datagram without an answer was sent; 0 if there is none
        self._task = self._run(self._begin())

    def abort(self) -> None:
        """End the session at once."""
        self._task.cancel()
        self._near.close()
        for far in (self._far, self._replaced):
            if far is not None:
                far.close()
        self._far = self._replaced = None
        self._owner.left(self)

    # ---- opening tunnels

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"udp tunnel to {self.tunnel.place}")
        task.add_done_callback(self._settle)
        return task

    def _settle(self, task: asyncio.Task[None]) -> None:
        """End the session if its task has failed with an unexpected error."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.abort()
            self._loop.call_exception_handler({"message": "a udp tunnel failed", "exception": error})

    async def _begin(self) -> None:
        if not await self._open():
            await asyncio.sleep(_PAUSE)
            self._near.refuse()
            self.abort()
            return
        self._near.accept()
        for datagram in self._waiting:
            self._send(datagram)
        self._waiting.clear()

    async def _open(self) -> bool:
        """Open a tunnel and use it instead of the previous one. Return whether this succeeded."""
        far: DTLSClient | None = None
        try:
            async with asyncio.timeout(_WAITING), self._owner.turn(self.tunnel.agent), asyncio.timeout(_OPENING):
                far = self._connect()
                await far.open(tunnel_header(self.tunnel.host, self.tunnel.port))
        except (OSError, ValueError, CredentialsError) as error:
            why = error.what if isinstance(error, CredentialsError) else failure_text(error, _OPENING)
            self._owner.note(self.tunnel, why)
            if far is not None:
                far.close()
            return False
        except BaseException:  # cancelled
            if far is not None:
                far.close()
            raise
        if self._replaced is not None:
            self._replaced.close()
        self._replaced, self._far = self._far, far
        if self._replaced is not None:
            self._loop.call_later(_LATE, self._replaced.close)
        self._asked = 0.0
        return True

    def _connect(self) -> DTLSClient:
        from pilotage.engine.dtls_client import DTLSClient  # noqa: PLC0415  # needs an optional package

        agent = self._owner.agent(self.tunnel.agent)
        if agent is None:
            raise ConnectionAbortedError("the agent is no longer configured")
        context = self._owner.dtls_context(agent.address)
        return DTLSClient(context, (agent.ip, agent.port), self._answered, self._lost)

    async def _renew(self) -> None:
        if not await self._open():
            self.abort()

    def _lost(self, far: DTLSClient) -> None:
        """End the session because the agent closed the tunnel or is gone. The client's next datagram begins another."""
        if far is self._far:
            self.abort()

    # ---- datagrams

    def _send(self, datagram: bytes) -> None:
        far = self._far
        if far is None:
            if len(self._waiting) < _WAITING_MOST and sum(map(len, self._waiting), len(datagram)) <= _WAITING_BYTES:
                self._waiting.append(datagram)
            return
        if not far.send(datagram):
            self._owner.note(
                self.tunnel, f"a datagram has {len(datagram)} bytes, but at most 16384 fit", "datagrams dropped"
            )
            return
        now = self._loop.time()
        if not self._asked:
            self._asked = now
        elif now - self._asked > self._patience and self._task.done():
            self._patience = min(2 * self._patience, _LONGEST_UNHEARD)
            self._asked = now
            self._task = self._run(self._renew())

    def _answered(self, datagrams: list[bytes]) -> None:
        self._asked = 0.0
        self._patience = _UNHEARD
        self._near.write(datagrams)


class _Near:
    """The socket through which Envoy, or another part of pilotage, uses a session."""

    def __init__(
        self, accepted: socket.socket, received: Callable[[bytes], object], ended: Callable[[], object]
    ) -> None:
        self._socket = accepted
        self._received, self._ended = received, ended
        self._reader = None if accepted.type == PACKETS else CapsuleReader()
        self._loop = asyncio.get_running_loop()
        self._left = b""  # what the socket has not taken yet
        self._is_closed = False
        self._loop.add_reader(accepted, self._read)

    def accept(self) -> None:
        """Tell Envoy that the tunnel is open."""
        if self._reader is not None:
            self._put(ACCEPTED)

    def refuse(self) -> None:
        """Tell Envoy that there is no tunnel."""
        if self._reader is not None:
            self._put(REFUSED)

    def write(self, datagrams: list[bytes]) -> None:
        """Pass on the target's datagrams; drop them if earlier ones are still waiting."""
        if self._reader is not None:
            self._put(b"".join(map(capsule, datagrams)))
            return
        for datagram in datagrams:
            with contextlib.suppress(OSError):
                self._socket.send(datagram)

    def close(self) -> None:
        """Close the socket."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    def _read(self) -> None:
        for _ in range(1 if self._reader is not None else _BATCH):
            try:
                data = self._socket.recv(_LARGEST_PACKET)
                found = [data] if self._reader is None else self._reader.read(data)
            except BlockingIOError:
                return
            except (OSError, ValueError):
                data, found = b"", []
            if not data:
                self._ended()
                return
            for datagram in found:
                self._received(datagram)

    def _put(self, data: bytes) -> None:
        if self._is_closed or self._left:
            return
        self._left = data
        self._write()

    def _write(self) -> None:
        try:
            self._left = self._left[self._socket.send(self._left) :]
        except BlockingIOError:
            pass
        except OSError:  # reading shows that it has ended
            self._left = b""
        if self._left:
            self._loop.add_writer(self._socket, self._write)
        else:
            self._loop.remove_writer(self._socket)
