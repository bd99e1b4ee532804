"""Tracks the connected Envoys: how far behind each is, which have stopped answering, and what each has accepted.

An Envoy answers every response with an acknowledgement or a rejection. An Envoy that does not answer, because it is
stopped or overloaded, must not delay the others. Waits for such a silent Envoy are therefore short.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.text import shorten
from pilotage.table.envoys import SILENT, EnvoyState, RouteState, joined
from pilotage.xds.resources import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pilotage.core.problems import Problem
    from pilotage.xds.resources import Resource
    from pilotage.xds.session import Session

__all__ = ["MOST_NODES", "Envoys"]

MOST_NODES: Final = 100
"""Maximum number of node IDs to remember. Envoys choose their IDs, so the number must be bounded."""
_REMEMBERED: Final = 3600.0
"""Seconds for which an Envoy that has disconnected is still reported."""
_LONGEST_NODE: Final = 100


class _Known(msgspec.Struct):
    """The recorded state of one connection."""

    since: float
    heard: float
    local: bool = False
    version: int = 0
    older: dict[Key, int] = {}


class Envoys:
    """The Envoys that are or were connected.

    Attributes:
        sessions: session of a connected Envoy -> event that wakes the stream that sends responses.
        on_silent: called with a problem, once for each Envoy that becomes silent.
        revision: changes whenever an Envoy connects, disconnects, becomes silent, answers, or gets something to answer.

    Args:
        resources: the resources that every Envoy should have. The owner keeps this mapping current.

    """

    def __init__(self, resources: Callable[[], Mapping[Key, Resource]]) -> None:
        self.sessions: dict[Session, asyncio.Event] = {}
        self.on_silent: Callable[[Problem], object] = lambda _: None
        self.revision = 0
        self._resources = resources
        self._known: dict[Session, _Known] = {}
        self._left: dict[str, EnvoyState] = {}
        self._timers: dict[Session, asyncio.TimerHandle] = {}
        self._reported: set[Session] = set()
        self._waiters: set[asyncio.Future[None]] = set()
        self._version = 0
        self._first = 0
        self._published: dict[Key, tuple[str, int]] = {}

    # ---- connections

    def join(self, session: Session, *, local: bool = False) -> asyncio.Event:
        """Record that an Envoy has connected (if ``local``, on a unix socket); return its :attr:`sessions` event."""
        wake = self.sessions[session] = asyncio.Event()
        self._known[session] = _Known(time.time(), _now(), local)
        self.revision += 1
        self._watch(session)
        return wake

    def heard(self, session: Session) -> None:
        """Record that a request from an Envoy has been handled."""
        known = self._known.get(session)
        if known is None:
            return
        known.heard = _now()
        self._left.pop(_shown(session.node), None)
        if self.lag(session) < SILENT:
            self._reported.discard(session)
        self.progress(session)

    def progress(self, session: Session) -> None:
        """Record that responses were sent to, or answered by, the Envoy of a session."""
        known = self._known.get(session)
        if known is not None and session.in_sync:
            known.version = self._version
        self._watch(session)
        self.wake_waiters()

    def leave(self, session: Session) -> None:
        """Record that an Envoy has disconnected."""
        del self.sessions[session]
        timer = self._timers.pop(session, None)
        if timer is not None:
            timer.cancel()
        self._reported.discard(session)
        known = self._known.get(session)
        if known is not None and session.node:
            last = self._state(session)
            self._left.pop(last.node, None)
            self._left[last.node] = msgspec.structs.replace(last, connected=False, since=time.time(), lag=0.0)
            while len(self._left) > MOST_NODES:
                del self._left[next(iter(self._left))]
        self._known.pop(session, None)
        self.wake_waiters()

    def close(self) -> None:
        """Stop all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # ---- silence

    def lag(self, session: Session) -> float:
        """Return the age of the oldest response that an Envoy has not answered, in seconds; 0 if it has answered all.

        If an Envoy has not subscribed to everything yet, the time since its last request counts instead. Responses with
        health-checked clusters do not count, because Envoy does not answer them before it has probed the endpoints.
        """
        known = self._known.get(session)
        if known is None:
            return 0.0
        began = session.unanswered_since(known.heard)
        return 0.0 if began is None else max(0.0, _now() - began)

    def _watch(self, session: Session) -> None:
        """If an Envoy has not answered yet, check it again when it would count as silent."""
        if session in self._timers or session not in self.sessions:
            return
        known = self._known.get(session)
        began = session.unanswered_since(known.heard) if known is not None else None
        if began is None:
            return
        if began + SILENT > _now():
            self._timers[session] = asyncio.get_running_loop().call_at(began + SILENT, self._look, session)

    def _look(self, session: Session) -> None:
        del self._timers[session]
        if self.lag(session) >= SILENT and session not in self._reported:
            self._reported.add(session)
            problem = self._state(session).problem
            if problem is not None:
                self.on_silent(problem)
        self._watch(session)
        self.wake_waiters()

    # ---- waiting for acknowledgements

    async def wait(self, is_done: Callable[[Session], bool], node: str, patience: float) -> None:
        """Wait until at least one Envoy is connected and all connected Envoys are done.

        Args:
            is_done: whether an Envoy is done.
            node: wait only for the Envoy with this node ID; ``""`` for all.
            patience: do not wait for an Envoy whose lag is at least this many seconds.

        """

        def selected() -> list[Session]:
            return [session for session in self.sessions if node in ("", session.node)]

        def passes(session: Session) -> bool:
            return is_done(session) or self.lag(session) >= patience

        while not (sessions := selected()) or not all(map(passes, sessions)):
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    def wake_waiters(self) -> None:
        """Let all tasks that wait for an Envoy check again, because the state of an Envoy has changed."""
        self.revision += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # ---- what they have

    @property
    def states(self) -> tuple[EnvoyState, ...]:
        """The states of up to :data:`MOST_NODES` nodes: connected nodes, then others, each sorted by node ID."""
        found: dict[str, EnvoyState] = {}
        for session in self.sessions:
            if not session.node:
                continue
            state = self._state(session)
            other = found.get(state.node)
            found[state.node] = state if other is None else joined(state, other)
        now = time.time()
        for node, state in list(self._left.items()):
            if now - state.since > _REMEMBERED:
                del self._left[node]
            else:
                found.setdefault(node, state)
        return tuple(sorted(found.values(), key=lambda it: (not it.connected, it.node))[:MOST_NODES])

    def local_state(self, node: str) -> EnvoyState | None:
        """Return the state of an Envoy that is connected over the unix socket; ``None`` if it is not connected."""
        found = [it for it, known in self._known.items() if it.node == node and known.local]
        return self._state(found[-1]) if found else None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """A problem for each silent Envoy."""
        return tuple(problem for state in self.states if (problem := state.problem) is not None)

    def published(self, changed: Iterable[Key], version: int) -> None:
        """Record that resources have changed.

        Args:
            changed: the keys of the changed resources.
            version: version of the table to which the resources belong.

        """
        self.revision += 1
        resources = self._resources()
        if not self._first:  # a resource that is not recorded dates from the first table
            self._first = self._version = version
            return
        self._version = version
        for key in changed:
            before = self._published.get(key, ("", self._first))
            for session, known in self._known.items():
                acked = session.accepted_version(key)
                if acked is not None and before[0] in ("", acked):
                    known.older[key] = before[1]
            item = resources.get(key)
            if item is None:
                self._published.pop(key, None)
            else:
                self._published[key] = (item.version, version)

    def route_states(self, host: str, keys: Iterable[Key]) -> dict[str, RouteState]:
        """Return node ID of each connected Envoy -> whether this Envoy has accepted, rejected or yet to answer a route.

        Args:
            host: name of the route's backend.
            keys: the resources that make up the route.

        """
        wanted = list(keys)
        current = max((self._published.get(key, ("", self._first))[1] for key in wanted), default=self._first)
        found: dict[str, RouteState] = {}
        for session, known in list(self._known.items()):
            if not session.node:
                continue
            states = {session.state_of(key, host) for key in wanted}
            if states <= {"accepted"}:
                state = RouteState("accepted", current)
            else:
                older = [known.older[key] for key in wanted if key in known.older]
                state = RouteState("rejected" if "rejected" in states else "waiting", max(older, default=None))
            node = _shown(session.node)
            if node not in found or found[node].state == "accepted":
                found[node] = state
            if len(found) >= MOST_NODES:
                break
        return found

    def _state(self, session: Session) -> EnvoyState:
        known, lag = self._known.get(session, _Known(time.time(), _now())), self.lag(session)
        return EnvoyState(
            node=_shown(session.node),
            connected=True,
            since=known.since,
            lag=lag,
            silent=lag >= SILENT,
            version=known.version,
            waiting=session.waiting,
            rejected=len(session.rejections),
        )


def _shown(node: str) -> str:
    return shorten(node, _LONGEST_NODE)


def _now() -> float:
    return asyncio.get_running_loop().time()
