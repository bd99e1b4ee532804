"""Decides how often to try to connect to servers that are starting. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["pause_between_attempts"]

_SHORTEST: Final = 0.01
_LONGEST: Final = 0.5
"""Limits of a pause, in seconds."""

_SHARE: Final = 0.001
"""A pause, as a share of the time waited so far. If a server needs 30 s, this is noticed at most 30 ms late."""

_EACH: Final = 0.005
"""Seconds of a pause for each server that is starting: 200 refused connections a second take 1 % of a core."""


def pause_between_attempts(waited: float, servers: int) -> float:
    """Return the number of seconds until the next attempt to connect to a server that refuses connections.

    Args:
        waited: seconds since the first attempt.
        servers: number of servers that pilotage is trying to connect to. More servers mean longer pauses.

    """
    return min(_LONGEST, max(_SHORTEST, waited * _SHARE, servers * _EACH))
