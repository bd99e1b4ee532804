"""Resolves the host names of targets, again and again, so that Envoy only ever gets addresses that were checked.

The number of names, of lookups at a time and of lookups for one container is limited. When a lookup fails, the last
addresses stay in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["MAX_NAMES", "Resolver", "look_up"]

MAX_NAMES: Final = 2_000
"""Names in use at a time. Further ones are not resolved until others are no longer used."""

_INTERVAL: Final = 10.0
"""Seconds between two lookups of a name. The system's resolver does not say how long its answer is valid."""

_RETRIES: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds until the next attempt after failures in a row."""

_MAX_RATE: Final = 50.0
"""Lookups a second. With many names, the intervals become longer."""

_AT_ONCE: Final = 8
"""Lookups at a time. Each one takes a thread, which a silent name server can keep for half a minute."""

_MAX_ADDRESSES: Final = 64
"""Addresses of one name; further ones are ignored."""


def look_up(name: str) -> tuple[str, ...]:
    """Return the addresses of a name as the system resolves it, sorted. It may block for half a minute.

    Raises:
        OSError: the name has no address, or no name server answers.
        ValueError: it is not a valid name.

    """
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(sorted({str(entry[4][0]).partition("%")[0] for entry in found}))[:_MAX_ADDRESSES]


class _Name:
    """A name in use.

    Attributes:
        users: alias -> owner.
        failures: failed lookups in a row.
        timer: starts the next lookup.
        waiting: whether a lookup is queued or running.
        queue: owner in whose queue it is, or was last.

    """

    def __init__(self) -> None:
        self.users: dict[str, str] = {}
        self.failures = 0
        self.timer: asyncio.TimerHandle | None = None
        self.waiting = False
        self.queue = ""


class Resolver:
    """Keeps the addresses of the names in use up to date.

    Attributes:
        addresses: name -> addresses of its last successful lookup, sorted.
        errors: name -> why its last lookup failed, as text.

    Args:
        on_change: called with a name whose addresses or error changed.
        lookup: resolves a name, in a thread; see :func:`look_up`.

    """

    def __init__(
        self, on_change: Callable[[str], object], *, lookup: Callable[[str], tuple[str, ...]] = look_up
    ) -> None:
        self.addresses: dict[str, tuple[str, ...]] = {}
        self.errors: dict[str, str] = {}
        self._on_change = on_change
        self._lookup = lookup
        self._names: dict[str, _Name] = {}
        self._used: dict[str, frozenset[str]] = {}
        self._surplus: dict[str, dict[str, str]] = {}  # name -> users, beyond the limit
        self._queues: dict[str, dict[str, _Name]] = {}  # owner -> names; owners take turns
        self._busy: set[str] = set()  # owners with a running lookup
        self._running = 0
        self._idle = asyncio.Event()
        self._closed = False

    def update(self, alias: str, names: Iterable[str], owner: str = "") -> None:
        """Resolve the names that an alias uses, and stop resolving those that no alias uses any longer.

        Args:
            alias: the alias.
            names: its names.
            owner: who chose them; one owner has one lookup at a time.

        """
        before, now = self._used.pop(alias, frozenset()), frozenset(names)
        if now:
            self._used[alias] = now
        for name in before - now:
            self._drop(alias, name)
        for name in now:
            self._add(alias, name, owner)

    async def settled(self, timeout: float) -> None:  # noqa: ASYNC109  # a slow name server is no error
        """Wait until no lookup is queued or running, or the timeout in seconds has passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._running or self._queues:
                    self._idle.clear()
                    await self._idle.wait()

    def close(self) -> None:
        """Stop resolving. Results of running lookups are ignored."""
        self._closed = True
        for known in self._names.values():
            if known.timer is not None:
                known.timer.cancel()
        self._queues.clear()

    def _add(self, alias: str, name: str, owner: str) -> None:
        known = self._names.get(name)
        if known is None:
            if len(self._names) >= MAX_NAMES:
                self._surplus.setdefault(name, {})[alias] = owner
                self.errors[name] = f"more than {MAX_NAMES:,} names are in use"
                return
            known = self._names[name] = _Name()
        known.users[alias] = owner
        if not known.waiting and known.timer is None:
            self._enqueue(name)

    def _drop(self, alias: str, name: str) -> None:
        known = self._names.get(name)
        users = known.users if known is not None else self._surplus.get(name, {})
        users.pop(alias, None)
        if users:
            return
        self.addresses.pop(name, None)
        self.errors.pop(name, None)
        self._surplus.pop(name, None)
        if known is None:
            return
        if known.timer is not None:
            known.timer.cancel()
        self._unqueue(name, known)
        del self._names[name]
        if self._surplus:
            name, users = self._surplus.popitem()
            del self.errors[name]
            for user, owner in users.items():
                self._add(user, name, owner)

    # ---- lookups

    def _enqueue(self, name: str) -> None:
        known = self._names[name]
        known.timer, known.waiting = None, True
        known.queue = min(known.users.values())
        self._queues.setdefault(known.queue, {})[name] = known
        self._start_lookups()

    def _unqueue(self, name: str, known: _Name) -> None:
        queue = self._queues.get(known.queue, {})
        if queue.get(name) is known:
            del queue[name]
            if not queue:
                del self._queues[known.queue]
                self._idle.set()

    def _start_lookups(self) -> None:
        for owner in list(self._queues):
            if self._running >= _AT_ONCE:
                return
            if owner in self._busy:
                continue
            queue = self._queues.pop(owner)
            name = next(iter(queue))
            known = queue.pop(name)
            if queue:
                self._queues[owner] = queue  # at the end, so that owners take turns
            self._start(name, known, owner)

    def _start(self, name: str, known: _Name, owner: str) -> None:
        loop = asyncio.get_running_loop()
        self._running += 1
        self._busy.add(owner)

        def work() -> None:
            found: tuple[str, ...] = ()
            error = ""
            try:
                found = self._lookup(name)
            except (OSError, ValueError) as caught:  # ValueError: not a valid name
                error = (isinstance(caught, OSError) and caught.strerror) or str(caught)
            except Exception as caught:  # noqa: BLE001  # the name stays unresolved, and the others are not affected
                error = repr(caught)
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(self._finish, name, known, owner, found, error)

        # A daemon thread, because a lookup cannot be cancelled and must not delay the end of the process.
        threading.Thread(target=work, name="resolver", daemon=True).start()

    def _finish(self, name: str, known: _Name, owner: str, found: tuple[str, ...], error: str) -> None:
        self._running -= 1
        self._busy.discard(owner)
        self._idle.set()
        if self._closed:
            return
        if self._names.get(name) is known:
            self._record(name, known, found, error)
        self._start_lookups()

    def _record(self, name: str, known: _Name, found: tuple[str, ...], error: str) -> None:
        known.waiting = False
        known.failures = known.failures + 1 if error else 0
        pause = _RETRIES[min(known.failures, len(_RETRIES)) - 1] if error else _INTERVAL
        pause = max(pause, len(self._names) / _MAX_RATE)
        known.timer = asyncio.get_running_loop().call_later(pause, self._enqueue, name)
        before = (self.addresses.get(name), self.errors.get(name))
        if error:
            self.errors[name] = error
        else:
            self.addresses[name] = found
            self.errors.pop(name, None)
        if (self.addresses.get(name), self.errors.get(name)) != before:
            self._on_change(name)
