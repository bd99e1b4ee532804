"""Defines whether requests for a route pass, wait or are rejected while its containers sleep and wake. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Gate", "Opening"]

Opening = Literal["open", "closed", "failed"]


class Gate(msgspec.Struct, frozen=True, gc=False):
    """What Envoys do with the requests for a route whose containers can sleep.

    Attributes:
        epoch: number of the current or next period in which the containers are awake. It is part of the cluster's name.
        opening: ``open``: the cluster has the endpoints; ``closed``: Envoys do not have the cluster, so requests wait;
            ``failed``: requests are rejected.
        reason: why requests are rejected; otherwise ``""``.
        busy: earlier epochs whose requests may still be in progress, so their clusters are kept.
        waiting: earlier epochs for which requests may still be waiting. Envoys get their clusters when the gate opens.
        page: whether browsers see a loading page while they wait.
        start_path: the only path that wakes the containers; ``""`` for any.
        patience: maximum number of seconds that a request waits.
        is_awake: whether the containers are still serving requests in progress, although new ones wait.
        relay: for a udp route, the loopback port that receives its datagrams, whether the gate is open or not;
            otherwise 0.

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
