"""Defines whether a route's containers are awake, as commands and the API show it. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Wakefulness"]


class Wakefulness(msgspec.Struct, frozen=True, gc=False):
    """Whether the containers of a route that lets its containers sleep are awake.

    Attributes:
        state: ``asleep``; ``waking`` while they are started and requests wait; ``ready``; ``quiescing`` while the last
            requests end; ``stopping`` while the engine stops them; ``failed`` for a while after they could not be
            woken.
        since: when the containers entered this state, in seconds since 1970.
        detail: the step in progress, or why the containers could not be woken; otherwise ``""``.
        last_wake: how long the last successful attempt to wake the containers took, in seconds; ``None`` before the
            first success.
        awake_because: why the containers do not go to sleep now; ``""`` in the table, because the table does not change
            with each request.
        sleeps_at: when the containers go to sleep if no further requests arrive, in seconds since 1970; ``None`` in the
            table.

    """

    state: Literal["asleep", "waking", "ready", "quiescing", "stopping", "failed"]
    since: float
    detail: str = ""
    last_wake: float | None = None
    awake_because: str = ""
    sleeps_at: float | None = None

    @property
    def remark(self) -> str:
        """The state in one phrase."""
        if self.state == "ready" and self.awake_because:
            return f"awake: {self.awake_because}"
        if self.state == "waking":
            return f"waking: {self.detail}" if self.detail else "waking"
        if self.state == "failed":
            return f"could not be woken: {self.detail}"
        return {"asleep": "asleep", "ready": "awake"}.get(self.state, "falling asleep")
