"""Keeps the sessions of browsers that have signed in to the dashboard with the API's token."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["COOKIE", "LIFETIME", "Sessions"]

COOKIE: Final = "pilotage_session"
LIFETIME: Final = 8 * 3600.0
"""Seconds after which a browser has to sign in again."""
_MOST: Final = 100
"""Maximum number of sessions. The oldest one ends when another begins."""
_ATTEMPTS: Final = 10
"""Maximum number of wrong tokens of one client within one minute. Its further attempts are refused without a check."""
_MOST_CLIENTS: Final = 1_000
"""Maximum number of clients whose wrong tokens are counted."""
_MINUTE: Final = 60.0


class Sessions:
    """Sessions in memory. They end with the daemon.

    Args:
        token: the API's token; if it is empty, no browser can sign in.
        now: returns the time of a monotonic clock, in seconds.

    """

    def __init__(self, token: str, now: Callable[[], float]) -> None:
        self._token = token.encode()
        self._now = now
        self._until: dict[str, float] = {}
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()  # client -> the times of its latest wrong tokens

    @property
    def possible(self) -> bool:
        """Whether there is a token to sign in with."""
        return bool(self._token)

    def is_blocked(self, client: str) -> bool:
        """Return whether there were too many wrong tokens from one address within the last minute.

        Each client is counted on its own, so that nobody can keep others from signing in.
        """
        wrong = self._wrong.get(_network(client))
        return wrong is not None and len(wrong) == _ATTEMPTS and self._now() - wrong[0] < _MINUTE

    def begin(self, token: str, client: str) -> str | None:
        """Return the cookie of a new session; ``None`` if the token is wrong. ``client`` is the client's address."""
        if not self._token or not hmac.compare_digest(token.strip().encode(errors="surrogateescape"), self._token):
            self._count(_network(client))
            return None
        now = self._now()
        self._until = {session: until for session, until in self._until.items() if until > now}
        while len(self._until) >= _MOST:
            del self._until[next(iter(self._until))]
        session = secrets.token_urlsafe(32)
        self._until[session] = now + LIFETIME
        return session

    def holds(self, session: str) -> bool:
        """Return whether a session exists and has not expired."""
        return self._until.get(session, 0.0) > self._now()

    def end(self, session: str) -> None:
        """End a session."""
        self._until.pop(session, None)

    def _count(self, network: str) -> None:
        self._wrong.setdefault(network, deque(maxlen=_ATTEMPTS)).append(self._now())
        self._wrong.move_to_end(network)
        if len(self._wrong) > _MOST_CLIENTS:
            self._wrong.popitem(last=False)


def _network(client: str) -> str:
    """Return the network of an IPv6 address, because a client has many; return everything else unchanged."""
    try:
        address = ipaddress.IPv6Address(client)
    except ValueError:
        return client
    return str(ipaddress.IPv6Network((address, 64), strict=False)) if address.ipv4_mapped is None else client
