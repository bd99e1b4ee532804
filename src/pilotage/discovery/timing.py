"""Defines the intervals and timeouts of watchers."""

from __future__ import annotations

import msgspec

__all__ = ["Timing"]


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Intervals and timeouts of a watcher, in seconds.

    Attributes:
        reconcile: interval between full lists of a healthy engine, shortened at random by up to a tenth so that many
            engines are not listed at the same moment.
        silence: how long an engine may go without sending an event before it is pinged.
        ping: how long a ping may take before the connection counts as dead.
        drain_grace: how long a container stays draining after its stop signal. It must exceed the engine's stop
            timeout (10 s by default).
        first_pause: back-off after the first failed attempt, measured from the start of the attempt. An attempt that
            itself took longer is repeated immediately.
        longest_pause: upper limit of the back-off, which doubles after each failure. Jitter changes each pause by up to
            a quarter.
        pause_after_session: pause after a session that had listed all containers. It doubles up to ``longest_pause``
            while such sessions end early.
        lasting_session: a session that lasts this long after its first list counts as a success and resets the
            back-off.

    """

    reconcile: float = 30.0
    silence: float = 15.0
    ping: float = 10.0
    drain_grace: float = 30.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    pause_after_session: float = 0.5
    lasting_session: float = 60.0
