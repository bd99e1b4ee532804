"""Compares passwords with bcrypt hashes, with limits on the time that this takes.

A comparison takes up to about half a second of CPU time. One thread does all comparisons. It remembers the results, so
further requests of a client cost nothing. It does not keep the passwords.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pilotage.core.errors import PilotageError

__all__ = ["Passwords", "TooManyWait", "read_basic_auth"]

_REMEMBERED: Final = 4096
"""Number of results to remember."""
_MOST_WAITING: Final = 64
"""Number of comparisons that may wait. A route may not use more places than are still free."""


class TooManyWait(PilotageError):
    """Too many passwords are being compared for this route."""


class Passwords:
    """Compares passwords.

    Args:
        most: maximum number of comparisons that wait for the thread.

    """

    def __init__(self, *, most: int = _MOST_WAITING) -> None:
        self._most = most
        self._waiting: Counter[str] = Counter()  # by route
        self._results: OrderedDict[bytes, bool] = OrderedDict()
        self._secret = os.urandom(32)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")

    async def matches(self, route: str, password: bytes, hashed: str) -> bool:
        """Return whether a password has this bcrypt hash.

        Args:
            route: the route whose rules need the result.
            password: the password, as the client sent it.
            hashed: the hash.

        Raises:
            TooManyWait: too many comparisons of this route are waiting.

        """
        key = hmac.digest(self._secret, hashed.encode() + b"\0" + password, hashlib.sha256)
        known = self._results.get(key)
        if known is not None:
            self._results.move_to_end(key)
            return known
        if self._waiting[route] >= self._most - self._waiting.total():
            raise TooManyWait("too many passwords are being compared")
        self._waiting[route] += 1
        comparison = asyncio.get_running_loop().run_in_executor(self._thread, _compare, password, hashed.encode())
        comparison.add_done_callback(lambda _: self._end(route))
        # A client that gives up does not free its place while the thread still works for it.
        found = await asyncio.shield(comparison)
        self._results[key] = found
        if len(self._results) > _REMEMBERED:
            self._results.popitem(last=False)
        return found

    def _end(self, route: str) -> None:
        self._waiting[route] -= 1
        if not self._waiting[route]:
            del self._waiting[route]

    def close(self) -> None:
        """Stop comparing."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _compare(password: bytes, hashed: bytes) -> bool:
    import bcrypt  # noqa: PLC0415  # needed only with such a rule

    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:  # longer than bcrypt allows, or an invalid hash
        return False


def read_basic_auth(header: str) -> tuple[str, bytes] | None:
    """Return the user and password of a header ``Authorization``; ``None`` if its scheme is not Basic (RFC 7617)."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(text.strip(), validate=True).partition(b":")
    except (ValueError, binascii.Error):
        return None
    return (user.decode("utf-8", "replace"), password) if colon else None
