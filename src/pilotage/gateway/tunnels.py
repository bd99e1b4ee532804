"""Relays Envoy's connections through the tunnels of agents, which Envoy cannot open itself.

There is one unix socket for each target behind an agent. Envoy connects to this socket as if it were the target, and
each connection gets a tunnel of its own: a TLS connection to the agent, which begins with a header that names the
target. For udp, Envoy opens one connection for each client, and its tunnel uses DTLS. Envoy enforces all limits per
connection and per client. Linux only.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilotage.core.sockets import bind_private, share_of_descriptors
from pilotage.engine.agents import TUNNEL_PROTOCOL
from pilotage.engine.credentials import CredentialsError
from pilotage.engine.tls import agent_context
from pilotage.gateway.hangups import Hangups
from pilotage.gateway.tunnel_connection import BUFFERED, TunnelConnection
from pilotage.gateway.udp_tunnel import PACKETS, UdpTunnel

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping

    from OpenSSL import SSL

    from pilotage.engine.credentials import Credentials
    from pilotage.xds.agent import Agent, Tunnel

__all__ = ["MOST_TUNNELS", "Tunnels"]

log = logging.getLogger(__name__)

MOST_TUNNELS: Final = 2000
"""Maximum number of connections through all agents; a quarter of this process's file descriptors if that is less."""

_LINGER: Final = 10.0  # seconds that an unused socket still accepts connections, because Envoy may still use it
_BACKLOG: Final = 1024
_BATCH: Final = 64  # connections accepted at once
_AT_ONCE: Final = 32  # tunnels opened at once to one agent; with more, none might be open in time
_LOG_AGAIN: Final = 60.0  # seconds until the same failure of a tunnel is logged again
_PAUSE: Final = 1.0  # seconds before another attempt to accept connections


class Tunnels:
    """The sockets and connections of all tunnels.

    Args:
        folder: a private folder for the sockets.
        tunnels: returns the tunnels that the route with an alias needs now.

    Raises:
        OSError: a socket left behind by an earlier process cannot be removed.

    Attributes:
        connections: the open connections.
        most: the maximum number of open connections.

    """

    def __init__(self, folder: str, tunnels: Callable[[str], Iterable[Tunnel]]) -> None:
        self.connections: set[TunnelConnection | UdpTunnel] = set()
        self.most = share_of_descriptors(4, MOST_TUNNELS)
        self.buffer = memoryview(bytearray(BUFFERED))
        self._folder = folder
        self._tunnels = tunnels
        self._agents: dict[str, Agent] = {}
        self._credentials: dict[str, Credentials] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._dtls: dict[str, SSL.Context] = {}
        self._used: dict[str, frozenset[Tunnel]] = {}  # alias -> its tunnels
        self._users: dict[Tunnel, set[str]] = {}
        self._sockets: dict[Tunnel, socket.socket] = {}
        self._endings: dict[Tunnel, asyncio.TimerHandle] = {}
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._failures: dict[tuple[Tunnel, str], tuple[str, float]] = {}  # what was logged last, and when
        self._is_full = False
        self.hangups = Hangups()
        for left in Path(folder).glob("tunnel-*"):
            left.unlink()

    def set_agents(self, agents: Mapping[Agent, Credentials | None]) -> None:
        """Replace all agents: agent -> its certificates, or ``None`` to keep its previous certificates.

        Connections through agents that are not in ``agents`` are closed at once.
        """
        self._agents = {agent.address: agent for agent in agents}
        for agent, credentials in agents.items():
            if credentials is not None:
                self._credentials[agent.address] = credentials
                self._contexts.pop(agent.address, None)
                self._dtls.pop(agent.address, None)
        for address in self._credentials.keys() - self._agents.keys():
            del self._credentials[address]
            self._contexts.pop(address, None)
            self._dtls.pop(address, None)
            self._turns.pop(address, None)
        for connection in tuple(self.connections):
            if connection.tunnel.agent not in self._agents:
                connection.abort()

    def follow(self, _table: object, aliases: Iterable[str]) -> None:
        """Open and close the sockets of the aliases whose routes may have changed.

        Existing TCP connections stay open. The sessions of udp clients end when no route needs their tunnel any more,
        because udp clients do not end their sessions themselves.
        """
        for alias in aliases:
            wanted = frozenset(self._tunnels(alias))
            before = self._used.pop(alias, frozenset())
            if wanted:
                self._used[alias] = wanted
            for tunnel in wanted - before:
                self._users.setdefault(tunnel, set()).add(alias)
                self._listen(tunnel)
            for tunnel in before - wanted:
                self._users[tunnel].discard(alias)
                if not self._users[tunnel]:
                    del self._users[tunnel]
                    self._end_sessions(tunnel)
                    self._endings[tunnel] = asyncio.get_running_loop().call_later(_LINGER, self._close, tunnel)

    async def close(self) -> None:
        """End all connections, and remove the sockets."""
        for tunnel in tuple(self._sockets):
            self._close(tunnel)
        while self.connections:
            for connection in tuple(self.connections):
                connection.abort()
            await asyncio.sleep(0)
        self.hangups.close()

    def connect(self, tunnel: Tunnel) -> socket.socket:
        """Begin the session of one udp client, and return a socket for its datagrams. Close it to end the session.

        Raises:
            OSError: there are too many connections.

        """
        if len(self.connections) >= self.most:
            raise OSError(errno.EUSERS, "there are too many connections through agents")
        ours, theirs = socket.socketpair(socket.AF_UNIX, PACKETS)
        theirs.setblocking(False)  # noqa: FBT003
        self.connections.add(UdpTunnel(self, tunnel, ours))
        return theirs

    def context(self, agent: str) -> ssl.SSLContext:
        """Return the TLS settings for the agent with this address.

        Raises:
            CredentialsError: the agent's certificates are missing or cannot be used.

        """
        if agent not in self._contexts:
            self._contexts[agent] = agent_context(self._credentials_of(agent), TUNNEL_PROTOCOL)
        return self._contexts[agent]

    def dtls_context(self, agent: str) -> SSL.Context:
        """Return the DTLS settings for the agent with this address.

        Raises:
            CredentialsError: the agent's certificates are missing or cannot be used.

        """
        if agent not in self._dtls:
            from pilotage.engine.dtls_end import dtls_context  # noqa: PLC0415  # needs an optional package

            self._dtls[agent] = dtls_context(self._credentials_of(agent))
        return self._dtls[agent]

    def _credentials_of(self, agent: str) -> Credentials:
        if (credentials := self._credentials.get(agent)) is None:
            raise CredentialsError("it has no certificates", "")
        return credentials

    def turn(self, agent: str) -> asyncio.Semaphore:
        """Return the semaphore that limits how many tunnels to the agent with this address are opened at once."""
        return self._turns.setdefault(agent, asyncio.Semaphore(_AT_ONCE))

    def agent(self, address: str) -> Agent | None:
        """Return the agent with this address; ``None`` if it is no longer configured."""
        return self._agents.get(address)

    def left(self, connection: TunnelConnection | UdpTunnel) -> None:
        """Forget a connection that has ended."""
        self.connections.discard(connection)

    def note(self, tunnel: Tunnel, failure: str, what: str = "no tunnel") -> None:
        """Log why a tunnel cannot be opened, unless the same reason was logged a short time ago.

        Args:
            tunnel: the tunnel.
            failure: the reason.
            what: what happens for this reason; the log line begins with it.

        """
        now = asyncio.get_running_loop().time()
        before, then = self._failures.get((tunnel, what), ("", now))
        if failure != before or now - then > _LOG_AGAIN:
            self._failures[tunnel, what] = failure, now
            log.warning("%s to %s through agent %s: %s", what, tunnel.place, tunnel.agent, failure)

    def _listen(self, tunnel: Tunnel) -> None:
        if (ending := self._endings.pop(tunnel, None)) is not None:
            ending.cancel()
        if tunnel in self._sockets:
            return
        try:
            bound = self._sockets[tunnel] = _bind(Path(self._folder, tunnel.name))
        except OSError as error:
            self.note(tunnel, str(error.strerror or error))
            return
        asyncio.get_running_loop().add_reader(bound, self._accept, tunnel, bound)

    def _close(self, tunnel: Tunnel) -> None:
        if (ending := self._endings.pop(tunnel, None)) is not None:
            ending.cancel()
        self._end_sessions(tunnel)
        for key in [key for key in self._failures if key[0] == tunnel]:
            del self._failures[key]
        if (bound := self._sockets.pop(tunnel, None)) is not None:
            asyncio.get_running_loop().remove_reader(bound)
            bound.close()
            Path(self._folder, tunnel.name).unlink(missing_ok=True)

    def _end_sessions(self, tunnel: Tunnel) -> None:
        for connection in [it for it in self.connections if tunnel.udp and it.tunnel == tunnel]:
            connection.abort()

    def _accept(self, tunnel: Tunnel, bound: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                accepted, _ = bound.accept()
            except BlockingIOError:
                return
            except OSError as error:  # no descriptor is left
                self.note(tunnel, str(error.strerror or error))
                loop = asyncio.get_running_loop()
                loop.remove_reader(bound)
                loop.call_later(_PAUSE, self._accept_again, tunnel, bound)
                return
            if len(self.connections) < self.most:
                self._is_full = False
                made = UdpTunnel(self, tunnel, accepted) if tunnel.udp else TunnelConnection(self, tunnel, accepted)
                self.connections.add(made)
                continue
            accepted.close()
            if not self._is_full:  # clients must not be able to fill the log
                log.warning("connections through agents are closed, because there are already %d", self.most)
            self._is_full = True

    def _accept_again(self, tunnel: Tunnel, bound: socket.socket) -> None:
        if self._sockets.get(tunnel) is bound:
            asyncio.get_running_loop().add_reader(bound, self._accept, tunnel, bound)


def _bind(path: Path) -> socket.socket:
    """Return a listening unix socket that only this user can connect to."""
    bound = bind_private(path)
    try:
        bound.setblocking(False)  # noqa: FBT003
        bound.listen(_BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound
