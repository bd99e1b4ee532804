"""Keeps the sessions of browsers that have signed in to the dashboard with the API's token."""

from __future__ import annotations

import hmac
import secrets
from collections import deque
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
"""Maximum number of wrong tokens within one minute. Further attempts are refused without a check."""
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
        self._wrong: deque[float] = deque(maxlen=_ATTEMPTS)

    @property
    def possible(self) -> bool:
        """Whether there is a token to sign in with."""
        return bool(self._token)

    @property
    def is_blocked(self) -> bool:
        """Whether there were too many wrong tokens within the last minute."""
        return len(self._wrong) == _ATTEMPTS and self._now() - self._wrong[0] < _MINUTE

    def begin(self, token: str) -> str | None:
        """Return the cookie of a new session; ``None`` if the token is wrong."""
        if not self._token or not hmac.compare_digest(token.strip().encode(errors="surrogateescape"), self._token):
            self._wrong.append(self._now())
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
