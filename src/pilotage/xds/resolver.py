"""Periodically re-resolves the host names of targets, so that Envoy gets only addresses that have been checked.

The number of names, the number of simultaneous lookups, and the number of lookups for one container are limited. When a
lookup fails, the last addresses stay in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["MAX_NAMES", "MAX_NAMES_OF_ONE", "Resolver", "look_up"]

MAX_NAMES: Final = 2_000
"""Maximum number of names in use. When it is reached, an owner with few names takes a slot from an owner with more."""

MAX_NAMES_OF_ONE: Final = 200
"""Maximum number of names in use for one owner. Further names are resolved when the owner stops using others."""

_INTERVAL: Final = 10.0
"""Seconds between two lookups of a name. The system's resolver does not say how long its answer is valid."""

_RETRIES: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds until the next attempt, by the number of failures in a row."""

_MAX_RATE: Final = 50.0
"""Maximum number of lookups per second. With many names, the intervals become longer."""

_AT_ONCE: Final = 8
"""Maximum number of lookups at a time. Each occupies a thread, for half a minute if the name server is silent."""

_REPORTS_AT_ONCE: Final = 20
"""Names beyond the limits that are reported together, so that thousands of them do not block the event loop."""

_MAX_ADDRESSES: Final = 64
"""Maximum number of addresses per name; further ones are ignored."""


def look_up(name: str) -> tuple[str, ...]:
    """Resolve a name as the system does and return its addresses, sorted. May block for half a minute.

    Raises:
        OSError: the name has no address, or no name server answers.
        ValueError: the text is not a valid name.

    """
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(sorted({str(entry[4][0]).partition("%")[0] for entry in found}))[:_MAX_ADDRESSES]


class _Name:
    """A name in use.

    Attributes:
        owner: one of the name's owners. The name counts toward this owner's limits and is looked up in this owner's
            turn.
        failures: number of failed lookups in a row.
        timer: starts the next lookup.

    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.failures = 0
        self.timer: asyncio.TimerHandle | None = None


class Resolver:
    """Keeps the addresses of the names in use up to date.

    Attributes:
        addresses: name -> addresses from its last successful lookup, sorted.
        errors: name -> why its last lookup failed, as text.

    Args:
        on_change: called with a name whose addresses or error have changed.
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
        self._used: dict[str, tuple[str, frozenset[str]]] = {}  # alias -> owner, names
        self._users: dict[str, dict[str, set[str]]] = {}  # name -> owner -> aliases
        self._served: dict[str, dict[str, None]] = {}  # owner -> names in use that count for it
        self._levels: list[dict[str, None]] = [{}]  # number of names in use -> owners with that many
        self._surplus: dict[str, dict[str, None]] = {}  # owner -> names beyond the limits
        self._turns: dict[str, None] = {}  # owners who may have one of their surplus names resolved
        self._news: dict[str, None] = {}  # surplus names to report
        self._queues: dict[str, dict[str, _Name]] = {}  # owner -> names; owners take turns
        self._busy: set[str] = set()  # owners with a running lookup
        self._running = 0
        self._idle = asyncio.Event()
        self._closed = False

    def update(self, alias: str, names: Iterable[str], owner: str = "") -> None:
        """Resolve the names that an alias uses, and stop resolving those that no alias uses any longer.

        Args:
            alias: the alias.
            names: all host names that the alias uses now.
            owner: identifies the container or route file that contains the names. An owner has one lookup at a time and
                a limited number of names.

        """
        now = frozenset(names)
        former, before = self._used.pop(alias, (owner, frozenset()))
        if now:
            self._used[alias] = owner, now
        for name in before - now:
            self._drop(alias, name, former)
        if former != owner:
            for name in before & now:
                self._add(alias, name, owner)  # before it is dropped, so that it keeps its addresses
                self._drop(alias, name, former)
        for name in now - before:
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
        self._news.clear()

    def _add(self, alias: str, name: str, owner: str) -> None:
        self._users.setdefault(name, {}).setdefault(owner, set()).add(alias)
        if name in self._names:
            return
        self._put_aside(name, owner)
        self._fill()
        if name not in self._names and self._displace_for(owner):
            self._serve(name, owner)
        if name not in self._names:
            self._refuse(name)

    def _drop(self, alias: str, name: str, owner: str) -> None:
        owners = self._users[name]
        owners[owner].discard(alias)
        if owners[owner]:
            return
        del owners[owner]
        known = self._names.get(name)
        if known is None:
            self._take_up(name, owner)
        elif known.owner == owner:
            heir = next((other for other in owners if self._count(other) < MAX_NAMES_OF_ONE), None)
            if heir is not None:
                self._hand_over(name, known, heir)
            else:
                self._end(name, known)
        if not owners:
            del self._users[name]
            self.errors.pop(name, None)
        self._fill()

    # ---- limits

    def _count(self, owner: str) -> int:
        return len(self._served.get(owner, ()))

    def _fill(self) -> None:
        """Start resolving names that were set aside, as far as the limits now allow. Owners take turns."""
        while self._turns and len(self._names) < MAX_NAMES:
            owner = next(iter(self._turns))
            del self._turns[owner]
            if owner in self._surplus and self._count(owner) < MAX_NAMES_OF_ONE:
                self._serve(next(iter(self._surplus[owner])), owner)
                self._take_turn(owner)

    def _displace_for(self, owner: str) -> bool:
        """Set aside a name of the owner with the most names, unless ``owner`` would then have more; return success."""
        while (most := len(self._levels) - 1) > self._count(owner) + 1:
            greedy = next(reversed(self._levels[-1]))
            name = next(reversed(self._served[greedy]))
            known = self._names[name]
            heir = next((it for it in self._users[name] if self._count(it) + 1 < most), None)
            if heir is None:
                self._end(name, known)
                return True
            self._hand_over(name, known, heir)
        return False

    def _serve(self, name: str, owner: str) -> None:
        for other in self._users[name]:
            self._take_up(name, other)
        self.errors.pop(name, None)
        known = self._names[name] = _Name(owner)
        self._charge(name, owner)
        self._enqueue(name, known)

    def _end(self, name: str, known: _Name) -> None:
        """Stop resolving a name. If an owner still uses the name, set it aside until the limits allow it again."""
        if known.timer is not None:
            known.timer.cancel()
        self._unqueue(name, known)
        del self._names[name]
        self._discharge(name, known.owner)
        self.addresses.pop(name, None)
        self.errors.pop(name, None)
        for owner in self._users[name]:
            self._put_aside(name, owner)
        if self._users[name]:
            self._refuse(name)

    def _hand_over(self, name: str, known: _Name, heir: str) -> None:
        is_queued = self._unqueue(name, known)
        self._discharge(name, known.owner)
        known.owner = heir
        self._charge(name, heir)
        if is_queued:
            self._enqueue(name, known)

    def _charge(self, name: str, owner: str) -> None:
        names = self._served.setdefault(owner, {})
        self._levels[len(names)].pop(owner, None)
        names[name] = None
        if len(names) == len(self._levels):
            self._levels.append({})
        self._levels[len(names)][owner] = None

    def _discharge(self, name: str, owner: str) -> None:
        names = self._served[owner]
        del self._levels[len(names)][owner], names[name]
        if names:
            self._levels[len(names)][owner] = None
        else:
            del self._served[owner]
        while len(self._levels) > 1 and not self._levels[-1]:
            self._levels.pop()
        self._take_turn(owner)

    def _put_aside(self, name: str, owner: str) -> None:
        self._surplus.setdefault(owner, {})[name] = None
        self._take_turn(owner)

    def _take_up(self, name: str, owner: str) -> None:
        names = self._surplus.get(owner, {})
        names.pop(name, None)
        if not names:
            self._surplus.pop(owner, None)
            self._turns.pop(owner, None)

    def _take_turn(self, owner: str) -> None:
        if owner in self._surplus and self._count(owner) < MAX_NAMES_OF_ONE:
            self._turns[owner] = None

    def _refuse(self, name: str) -> None:
        """Record an error for a name that is not resolved because of the limits, and report the error soon."""
        if all(self._count(owner) >= MAX_NAMES_OF_ONE for owner in self._users[name]):
            error = f"its container has more than {MAX_NAMES_OF_ONE:,} names"
        else:
            error = f"more than {MAX_NAMES:,} names are in use"
        if self.errors.get(name) == error:
            return
        self.errors[name] = error
        if not self._news:
            asyncio.get_running_loop().call_soon(self._report)
        self._news[name] = None

    def _report(self) -> None:
        names = list(itertools.islice(self._news, _REPORTS_AT_ONCE))
        for name in names:
            del self._news[name]
        if self._news:
            asyncio.get_running_loop().call_soon(self._report)
        for name in names:
            self._on_change(name)

    # ---- lookups

    def _enqueue(self, name: str, known: _Name) -> None:
        known.timer = None
        self._queues.setdefault(known.owner, {})[name] = known
        self._start_lookups()

    def _unqueue(self, name: str, known: _Name) -> bool:
        """Remove a name from its queue; return whether it was queued."""
        queue = self._queues.get(known.owner, {})
        if queue.get(name) is not known:
            return False
        del queue[name]
        if not queue:
            del self._queues[known.owner]
            self._idle.set()
        return True

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
        known.failures = known.failures + 1 if error else 0
        pause = _RETRIES[min(known.failures, len(_RETRIES)) - 1] if error else _INTERVAL
        pause = max(pause, len(self._names) / _MAX_RATE)
        known.timer = asyncio.get_running_loop().call_later(pause, self._enqueue, name, known)
        before = (self.addresses.get(name), self.errors.get(name))
        if error:
            self.errors[name] = error
        else:
            self.addresses[name] = found
            self.errors.pop(name, None)
        if (self.addresses.get(name), self.errors.get(name)) != before:
            self._on_change(name)
