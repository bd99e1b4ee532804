"""Defines the reported state of one Envoy. Pure. It needs no package from the ``gateway`` extra."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from pilotage.core.problems import Problem

__all__ = ["SILENT", "EnvoyState", "RouteState", "joined"]

SILENT: Final = 10.0
"""Seconds after which an Envoy that has not acknowledged its configuration is reported."""


class EnvoyState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one Envoy, or of several that have the same node ID.

    Attributes:
        node: the Envoy's node ID, shortened to 100 printable characters.
        connected: whether the Envoy is connected to pilotage.
        since: when the Envoy connected or disconnected, in seconds since 1970.
        lag: age in seconds of the oldest response that Envoy has neither acknowledged nor rejected; 0 if Envoy has
            answered all responses.
        silent: whether the lag is too long, or was too long when the Envoy disconnected.
        version: the newest table version for which Envoy has answered every response; 0 before the first such version.
        waiting: number of resources that Envoy has neither accepted nor rejected yet.
        rejected: number of resources that Envoy rejects.

    """

    node: str
    connected: bool
    since: float
    lag: float = 0.0
    silent: bool = False
    version: int = 0
    waiting: int = 0
    rejected: int = 0

    @property
    def problem(self) -> Problem | None:
        """The problem to report while the Envoy is ``silent``; ``None`` if it is not."""
        if not self.silent:
            return None
        if self.connected:
            what = f"has not acknowledged its configuration for more than {SILENT:g} s, so its routes may be outdated"
        else:
            what = "stopped acknowledging its configuration and was disconnected, so its routes may be outdated"
        hint = "check that it is running and not overloaded; restart it if it hangs"
        return Problem(message=f"Envoy {self.node} {what}; other Envoys are not affected", hint=hint)


class RouteState(msgspec.Struct, frozen=True):
    """Whether one Envoy has the current configuration of a route.

    Attributes:
        state: whether the Envoy has accepted the current configuration, rejects it, or has not answered yet.
        version: the table version that introduced Envoy's current configuration of the route; ``None`` if unknown.

    """

    state: Literal["accepted", "rejected", "waiting"]
    version: int | None = None


def joined(one: EnvoyState, other: EnvoyState) -> EnvoyState:
    """Combine the states of two Envoys with the same node ID. Each attribute gets the worse of the two values."""
    return EnvoyState(
        node=one.node,
        connected=True,
        since=max(one.since, other.since),
        lag=max(one.lag, other.lag),
        silent=one.silent or other.silent,
        version=min(one.version, other.version),
        waiting=max(one.waiting, other.waiting),
        rejected=max(one.rejected, other.rejected),
    )
