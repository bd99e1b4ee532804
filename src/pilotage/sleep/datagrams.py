"""Queues the datagrams of udp routes while their containers sleep, and forwards them while the containers are awake.

Envoy can neither queue datagrams nor report udp clients. It therefore sends the datagrams of these routes to this
process, to one loopback port per route. As in Envoy, each client has a session with its own socket, so that the
server's replies reach the right client. If the server is behind an agent, the other end of that socket is a tunnel.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
import socket
from collections import deque
from typing import TYPE_CHECKING, Final

from pilotage.core.sockets import share_of_descriptors
from pilotage.xds.agent import Tunnel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pilotage.routes.gate import Opening

__all__ = ["MOST_BYTES", "MOST_HELD", "SESSION_IDLE", "Datagrams", "Target"]

log = logging.getLogger(__name__)

MOST_HELD: Final = 256
MOST_BYTES: Final = 1024 * 1024
"""How many datagrams, and how many bytes, of one route wait for its containers. Further ones are dropped.

Datagrams to a server that may not be listening yet are also kept, to be sent again: at most this many bytes per route,
and this many datagrams per client. Further ones are sent only once.
"""

MOST_SESSIONS: Final = 1000
"""Maximum number of sessions of all routes; an eighth of this process's file descriptors if that is less."""

SESSION_IDLE: Final = 60.0
"""Seconds without a datagram in either direction after which a session ends, as in Envoy."""

_SWEEP: Final = 5.0  # seconds between two checks for idle sessions
_ASK_AGAIN: Final = 0.2  # seconds between two requests to wake the same containers
_QUIET: Final = 1.0  # seconds without a datagram after which no answer is expected any more
_LARGEST: Final = 65536
_BATCH: Final = 64  # datagrams read from a socket before other sockets get their turn
_PORTION: Final = 32 * 1024
_PAUSE: Final = 0.002  # pause in seconds after each batch of datagrams that have waited
_REFUSED_FOR: Final = 30.0  # seconds after waking during which a server may not be listening yet
_SEND_AGAIN: Final = 0.1
_NOT_THERE: Final = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})

_Address = tuple[str, int]
Target = _Address | Tunnel
"""The destination of a session's datagrams."""


class Datagrams:
    """The servers that receive the datagrams of udp routes.

    Attributes:
        is_enabled: whether an Envoy sends datagrams here.
        want: called with a route's alias when a datagram arrives that must wait.
        changed: called with a route's alias when its number of sessions has changed.
        targets: returns the addresses of a route's servers, or the tunnels to them, given its alias.
        connect: returns a new socket whose datagrams a tunnel carries; raises OSError.
        sessions: total number of sessions.
        most_sessions: maximum total number of sessions.

    """

    def __init__(self, *, is_enabled: bool = False) -> None:
        self.is_enabled = is_enabled
        self.want: Callable[[str], object] = lambda _alias: None
        self.changed: Callable[[str], object] = lambda _alias: None
        self.targets: Callable[[str], Sequence[Target]] = lambda _alias: ()
        self.connect: Callable[[Tunnel], socket.socket] = _no_tunnel
        self.sessions = 0
        self.most_sessions = share_of_descriptors(8, MOST_SESSIONS)
        self._relays: dict[str, _Relay] = {}

    def open(self, alias: str, opening: Opening) -> int:
        """Let the datagrams of a route pass (``open``), wait (``closed``) or be dropped (``failed``).

        Returns:
            The loopback port that receives the route's datagrams; 0 if no port could be opened.

        """
        relay = self._relays.get(alias)
        if relay is None:
            try:
                relay = self._relays[alias] = _Relay(alias, self)
            except OSError as error:
                log.error("%s: cannot take datagrams: %s", alias, error.strerror)  # noqa: TRY400  # no traceback
                return 0
        relay.set_opening(opening)
        return relay.port

    def close(self, alias: str | None = None) -> None:
        """Close a route's port and sessions, and drop its waiting datagrams; without ``alias``, for all routes."""
        for name in [*self._relays] if alias is None else [alias] if alias in self._relays else []:
            self._relays.pop(name).close()

    def in_progress(self, alias: str) -> int:
        """Return the number of sessions of a route."""
        return len(self._relays[alias].sessions) if alias in self._relays else 0

    async def until_quiet(self, aliases: Iterable[str]) -> None:
        """Wait until no datagram of the given routes has been received or sent for a second."""
        relays = [self._relays[alias] for alias in aliases if alias in self._relays]
        while not all(relay.is_quiet for relay in relays):  # noqa: ASYNC110  # silence is no event
            await asyncio.sleep(_ASK_AGAIN)


class _Relay:
    """Receives the datagrams of one route on a loopback port, and queues or forwards these datagrams."""

    def __init__(self, alias: str, owner: Datagrams) -> None:
        self.alias = alias
        self.owner = owner
        self.loop = asyncio.get_running_loop()
        self.sessions: dict[_Address, _Session] = {}
        self.opening: Opening = "closed"
        self.opened = 0.0
        self._held: deque[tuple[_Address, bytes]] = deque()
        self._bytes = 0
        self._asked = 0.0
        self.kept = 0  # bytes that sessions may send again
        self._is_full = False
        self._fails = False
        self._sweep: asyncio.TimerHandle | None = None
        self.socket = _socket(("127.0.0.1", 0), connect=False)
        self.port: int = self.socket.getsockname()[1]
        self.loop.add_reader(self.socket, self._receive)

    def close(self) -> None:
        self._held.clear()
        for session in [*self.sessions.values()]:
            session.close()
        if self._sweep is not None:
            self._sweep.cancel()
        self.loop.remove_reader(self.socket)
        self.socket.close()

    @property
    def is_quiet(self) -> bool:
        now = self.loop.time()
        return all(now - session.used > _QUIET for session in self.sessions.values())

    def set_opening(self, opening: Opening) -> None:
        before, self.opening = self.opening, opening
        if opening == before:
            return
        self._asked = 0.0
        if opening == "open":
            self.opened = self.loop.time()
            targets = self.owner.targets(self.alias)
            for session in [*self.sessions.values()]:
                if session.target in targets:
                    session.expect_start()
                else:
                    session.close()
            if self.sessions:  # the sleeper did not count them while the containers slept
                self.owner.changed(self.alias)
            self._flush()
        elif opening == "failed":
            self._held.clear()
            self._bytes = 0

    def _flush(self) -> None:
        """Forward the waiting datagrams in batches that fit into a server's receive buffer."""
        portion = 0
        while self._held and self.opening == "open":
            client, data = self._held.popleft()
            self._bytes -= len(data)
            self._pass(client, data)
            portion += len(data)
            if portion > _PORTION:
                self.loop.call_later(_PAUSE, self._flush)
                return

    def _receive(self) -> None:
        for _ in range(_BATCH):
            try:
                data, client = self.socket.recvfrom(_LARGEST)
            except OSError:  # nothing more, or an ICMP message about an answer
                return
            if self.opening == "open" and not self._held:
                self._pass(client, data)
            elif self.opening != "failed":
                self._hold(client, data)

    def _hold(self, client: _Address, data: bytes) -> None:
        if len(self._held) < MOST_HELD and self._bytes + len(data) <= MOST_BYTES:
            self._held.append((client, data))
            self._bytes += len(data)
        now = self.loop.time()
        if self.opening == "closed" and now - self._asked > _ASK_AGAIN:
            self._asked = now
            self.owner.want(self.alias)

    def _pass(self, client: _Address, data: bytes) -> None:
        session = self.sessions.get(client) or self._begin(client)
        if session is not None:
            session.send(data)

    def _begin(self, client: _Address) -> _Session | None:
        targets = self.owner.targets(self.alias)
        if self.owner.sessions >= self.owner.most_sessions or not targets:
            if targets and not self._is_full:
                log.warning(
                    "%s: datagrams from further clients are dropped, because there are already %d sessions",
                    *(self.alias, self.owner.sessions),
                )
            self._is_full = True
            return None
        self._is_full = False
        try:
            session = _Session(self, client, random.choice(targets))  # noqa: S311  # spreads load, hides nothing
        except OSError as error:
            if not self._fails:  # clients must not be able to fill the log
                log.warning("%s: cannot pass datagrams on: %s", self.alias, error.strerror)
            self._fails = True
            return None
        self._fails = False
        self.sessions[client] = session
        self.owner.sessions += 1
        self.owner.changed(self.alias)
        if self._sweep is None:
            self._sweep = self.loop.call_later(_SWEEP, self._end_idle)
        return session

    def forget(self, session: _Session) -> None:
        if self.sessions.pop(session.client, None) is not None:
            self.owner.sessions -= 1
            self.owner.changed(self.alias)

    def _end_idle(self) -> None:
        now = self.loop.time()
        for session in [*self.sessions.values()]:
            if now - session.used >= SESSION_IDLE:
                session.close()
        self._sweep = self.loop.call_later(_SWEEP, self._end_idle) if self.sessions else None


class _Session:
    """Forwards datagrams between one client and one server, through a socket of its own."""

    def __init__(self, relay: _Relay, client: _Address, target: Target) -> None:
        self.client = client
        self.target = target
        self.used = relay.loop.time()
        self._relay = relay
        self._unanswered: list[bytes] | None = []  # until the server, which was just started, has answered
        self._again: asyncio.TimerHandle | None = None
        self._answers = False  # whether the server has answered since it was started
        self._has_end = isinstance(target, Tunnel)
        if isinstance(target, Tunnel):
            self._socket = relay.owner.connect(target)
        else:
            self._socket = _socket(target, connect=True)
        relay.loop.add_reader(self._socket, self._receive)

    def expect_start(self) -> None:
        """Keep copies of datagrams sent from now on, to resend them if the server is not listening yet."""
        self._keep_none()
        self._unanswered = []
        self._answers = False

    def _keep_none(self) -> None:
        self._relay.kept -= sum(map(len, self._unanswered or ()))
        self._unanswered = None

    def close(self) -> None:
        self._keep_none()
        if self._again is not None:
            self._again.cancel()
        self._relay.loop.remove_reader(self._socket)
        self._socket.close()
        self._relay.forget(self)

    def send(self, data: bytes) -> None:
        self.used = self._relay.loop.time()
        if self._unanswered is not None:
            if self.used - self._relay.opened >= _REFUSED_FOR:
                self._keep_none()
            elif len(self._unanswered) < MOST_HELD and self._relay.kept + len(data) <= MOST_BYTES:
                self._unanswered.append(data)
                self._relay.kept += len(data)
        try:
            self._socket.send(data)
        except OSError as error:  # others, such as a full buffer, lose only this datagram
            self._failed(error)

    def _receive(self) -> None:
        for _ in range(_BATCH):
            try:
                data = self._socket.recv(_LARGEST)
            except OSError as error:
                self._failed(error)
                return
            if self._has_end and not data:  # the tunnel has ended; the client's next datagram opens another one
                self.close()
                return
            if self._again is None:  # otherwise, the server may have missed an earlier datagram
                self._keep_none()
            self._answers = True
            self.used = self._relay.loop.time()
            with contextlib.suppress(OSError):
                self._relay.socket.sendto(data, self.client)

    def _failed(self, error: OSError) -> None:
        """Resend the kept datagrams in 0.1 s if a server that was just started may not be listening yet."""
        if error.errno in _NOT_THERE and self._unanswered and self._again is None:
            self._again = self._relay.loop.call_later(_SEND_AGAIN, self._send_again)

    def _send_again(self) -> None:
        self._again = None
        if self._unanswered is None or self._relay.loop.time() - self._relay.opened > _REFUSED_FOR:
            return
        for data in self._unanswered:
            try:
                self._socket.send(data)
            except OSError as error:
                self._failed(error)
                return
        if self._answers:
            self._keep_none()


def _no_tunnel(_tunnel: Tunnel) -> socket.socket:
    raise OSError(errno.ENETUNREACH, "there are no tunnels")


def _socket(address: _Address, *, connect: bool) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)  # noqa: FBT003
        if connect:
            made.connect(address)
        else:
            made.bind(address)
    except OSError:
        made.close()
        raise
    return made
