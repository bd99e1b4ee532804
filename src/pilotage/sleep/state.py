"""Decides when containers sleep and wake. Pure: the caller passes in the time and what it observes.

A :class:`SleepState` describes the containers that sleep and wake together: one container, or the replicas of a
service. Requests wait inside Envoy while their route names a cluster that Envoy does not have. Envoy asks for each
cluster name only once, even if the cluster is removed later. Each sleep therefore has its own number, called the epoch,
as part of the cluster's name.

All times are in seconds of a monotonic clock.
"""

from __future__ import annotations

import itertools
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from pilotage.routes.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LONGEST_BACKOFF", "QUIESCE_LIMIT", "Action", "Phase", "SleepState"]

QUIESCE_LIMIT: Final = 30.0
"""Seconds after which containers stay awake if they cannot be put to sleep because an Envoy does not respond."""

LONGEST_BACKOFF: Final = 30.0
"""Maximum number of seconds between a failed attempt to wake the containers and the next one."""


class Phase(StrEnum):
    """The phase that the containers are in.

    Attributes:
        ASLEEP: they do not run, and the next request wakes them.
        WAKING: one attempt to wake them is under way; requests wait.
        READY: they answer requests.
        QUIESCING: new requests wait, while Envoys finish the requests in progress.
        STOPPING: the engine is stopping them. Requests wait, and the containers are woken afterwards.
        FAILED: the last attempt to wake them failed; requests are rejected until the next attempt is allowed.

    """

    ASLEEP = "asleep"
    WAKING = "waking"
    READY = "ready"
    QUIESCING = "quiescing"
    STOPPING = "stopping"
    FAILED = "failed"


class Action(StrEnum):
    """An action for the caller to start. The caller then reports the result to the :class:`SleepState`.

    Attributes:
        WAKE: start or resume the containers, then call :meth:`SleepState.woke` or :meth:`SleepState.wake_failed`.
        STOP: stop or pause the containers, then call :meth:`SleepState.stopped`.

    """

    WAKE = "wake"
    STOP = "stop"


class SleepState:
    """The state of containers that sleep and wake together.

    Attributes:
        phase: what the containers are doing.
        since: when this phase began.
        epoch: the number of the current period in which they are awake or, if they are asleep, of the next such period.
        last_used: when the last request was seen.
        in_progress: number of requests and connections in progress, as last reported.
        failure: why they could not be woken or stopped; ``""`` if nothing failed.
        quiesce_limit: maximum number of seconds to wait until no request is in progress.
        last_wake: how long the last successful wake-up took, in seconds; ``None`` before the first one.

    Args:
        idle_timeout: seconds without a request after which they are put to sleep; negative if they sleep only when told
            to.
        running: whether at least one of them is running.
        now: the time.
        next_epoch: returns a number that no running Envoy can have seen.
        spread: returns a number from 0 to 1, which shortens the pause after a failure by up to a third.

    """

    def __init__(
        self,
        idle_timeout: float,
        *,
        running: bool,
        now: float,
        next_epoch: Callable[[], int] | None = None,
        spread: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._next_epoch = next_epoch or itertools.count().__next__
        self._spread = spread
        self.idle_timeout = idle_timeout
        self.phase = Phase.READY if running else Phase.ASLEEP
        self.since = now
        self.epoch = self._next_epoch()
        self.last_used = now
        self.in_progress = 0
        self.failure = ""
        self.last_wake: float | None = None
        self.quiesce_limit = QUIESCE_LIMIT
        self._failures = 0
        self._retry_at = now
        self._is_wanted = False

    @property
    def gate(self) -> Gate:
        """Whether Envoys let requests pass, wait or be rejected now, with the epoch."""
        if self.phase is Phase.READY:
            return Gate(self.epoch, "open")
        if self.phase is Phase.FAILED:
            return Gate(self.epoch, "failed", self.failure)
        return Gate(self.epoch, "closed", is_awake=self.phase is Phase.QUIESCING)

    @property
    def retry_at(self) -> float | None:
        """When the next attempt to wake them is allowed; ``None`` unless the last one failed."""
        return self._retry_at if self.phase is Phase.FAILED else None

    @property
    def sleeps_at(self) -> float | None:
        """When they will be put to sleep if no more requests arrive; ``None`` if they stay awake, or are not awake."""
        if self.phase is not Phase.READY or self.in_progress or self.idle_timeout < 0:
            return None
        return self.last_used + self.idle_timeout

    @property
    def is_wanted(self) -> bool:
        """Whether they must be woken again as soon as the engine has stopped them."""
        return self.phase is Phase.STOPPING and self._is_wanted

    @property
    def due(self) -> float | None:
        """When :meth:`advance` must be called next; ``None`` if nothing depends on the time."""
        if self.phase is Phase.QUIESCING:
            return self.since + self.quiesce_limit
        return self.retry_at if self.phase is Phase.FAILED else self.sleeps_at

    # ---- events

    def want(self, now: float) -> Action | None:
        """Record that a request, an operator or another container needs them; return the action to start, if any."""
        self.last_used = now
        if self.phase is Phase.QUIESCING:
            self._enter(Phase.READY, now)
        elif self.phase is Phase.STOPPING:
            self._is_wanted = True
        elif self.phase is Phase.ASLEEP:
            return self._wake(now)
        return None

    def observe(self, *, running: bool, now: float) -> Action | None:
        """Record whether the engine reports at least one of them as running; return the action to start, if any."""
        if running and self.phase is Phase.ASLEEP:
            return self._wake(now)  # somebody else started them; they may not be ready yet
        if not running and self.phase is Phase.READY:
            self._sleep(now)
        elif not running and self.phase is Phase.QUIESCING:
            self._enter(Phase.ASLEEP, now)
        return None

    def postpone(self, now: float) -> None:
        """Let them stay awake for another idle timeout, because awake containers need them."""
        self.last_used = now

    def report(self, *, in_progress: int, issued: int, now: float) -> None:
        """Record the numbers of requests that Envoys report.

        Args:
            in_progress: requests and connections in progress; at least 1 while an Envoy sends no reports.
            issued: requests that began since the last report.
            now: the time.

        """
        self.in_progress = in_progress
        if in_progress or issued:
            self.last_used = now

    def advance(self, now: float) -> Action | None:
        """Change the phase if :attr:`due` has come."""
        if self.due is None or now < self.due:
            return None
        if self.phase is Phase.READY:
            self.epoch = self._next_epoch()
            self._enter(Phase.QUIESCING, now)
        elif self.phase is Phase.QUIESCING:
            self.last_used = now
            self._enter(Phase.READY, now)
        else:
            self._sleep(now)  # Envoys may have asked for the epoch while requests were rejected
        return None

    def sleep(self, now: float) -> bool:
        """Begin to put them to sleep before their idle timeout has passed. Return ``False`` if they are not ready."""
        if self.phase is not Phase.READY:
            return False
        self.epoch = self._next_epoch()
        self._enter(Phase.QUIESCING, now)
        return True

    def quiet(self, now: float) -> Action | None:
        """Record that they have no requests and get no new ones. Return ``STOP`` if they are still quiescing."""
        if self.phase is not Phase.QUIESCING:
            return None
        self._enter(Phase.STOPPING, now)
        return Action.STOP

    def stopped(self, now: float, failure: str = "") -> Action | None:
        """Record that the containers stopped, or why not (``failure``). Return ``WAKE`` if they must wake again."""
        if self.phase is not Phase.STOPPING:
            return None
        self.failure = failure
        if failure:
            self.last_used = now
            self._is_wanted = False
            self._enter(Phase.READY, now)
            return None
        self._enter(Phase.ASLEEP, now)
        return self._wake(now) if self._is_wanted else None

    def woke(self, now: float) -> None:
        """Record that they are ready."""
        if self.phase is not Phase.WAKING:
            return
        self.last_wake = now - self.since
        self.failure, self._failures = "", 0
        self.last_used = now
        self._enter(Phase.READY, now)

    def wake_failed(self, reason: str, now: float) -> None:
        """Record why they could not be woken. Waiting requests are rejected."""
        if self.phase is not Phase.WAKING:
            return
        self.failure = reason
        # All units of an engine that restarts fail together, but must not try again together.
        self._retry_at = now + max(1.0, min(LONGEST_BACKOFF, 2.0**self._failures) * (1 - self._spread() / 3))
        self._failures = min(self._failures + 1, 10)
        self.epoch = self._next_epoch()
        self._enter(Phase.FAILED, now)

    def renew(self) -> None:
        """Begin a new epoch in the same phase, because an Envoy may already have seen the current epoch."""
        self.epoch = self._next_epoch()

    # ---- helpers

    def _wake(self, now: float) -> Action:
        self._is_wanted = False
        self._enter(Phase.WAKING, now)
        return Action.WAKE

    def _sleep(self, now: float) -> None:
        self.epoch = self._next_epoch()
        self._enter(Phase.ASLEEP, now)

    def _enter(self, phase: Phase, now: float) -> None:
        self.phase, self.since = phase, now
        if phase is not Phase.READY:
            self.in_progress = 0
