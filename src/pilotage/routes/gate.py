"""Defines whether the requests of a route pass, wait or are rejected, while its containers sleep and wake. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Gate", "Opening"]

Opening = Literal["open", "closed", "failed"]


class Gate(msgspec.Struct, frozen=True, gc=False):
    """Where Envoys lead the requests of a route whose containers sleep.

    Attributes:
        epoch: number of the current or next time that they are awake, which is part of the cluster's name.
        opening: ``open``: the cluster has the endpoints; ``closed``: Envoys do not have the cluster, so requests wait;
            ``failed``: requests are rejected.
        reason: why they are rejected; otherwise ``""``.
        busy: earlier epochs whose requests may still be in progress, so their clusters stay.
        waiting: earlier epochs that requests may wait for. Their clusters come when it opens.
        page: whether browsers see a page while requests wait.
        start_path: the only path that wakes the containers; ``""`` for any.
        patience: maximum number of seconds that a request waits.
        is_awake: whether the containers answer requests in progress, although new ones wait.
        relay: for a udp route, the port on loopback that takes its datagrams, whether it is open or not; otherwise 0.

    """

    epoch: int
    opening: Opening
    reason: str = ""
    busy: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    page: bool = True
    start_path: str = ""
    patience: float = 1200.0
    is_awake: bool = False
    relay: int = 0
