"""Defines how Envoys treat requests for a route whose containers sleep: pass, wait or reject. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Gate", "Opening"]

Opening = Literal["open", "closed", "failed"]


class Gate(msgspec.Struct, frozen=True, gc=False):
    """How Envoys treat the requests for a route whose containers can sleep.

    Attributes:
        epoch: number of the current or next period in which the containers are awake; part of the name of the route's
            cluster.
        opening: ``open``: Envoys have the route's cluster with its endpoints; ``closed``: Envoys do not have the
            cluster, so requests wait; ``failed``: requests are rejected.
        reason: why requests are rejected; ``""`` if they are not.
        busy: earlier epochs whose requests may still be in progress, so their clusters are kept.
        waiting: earlier epochs with requests that may still be waiting. Envoys get their clusters when the gate opens.
        page: whether browsers see a loading page while they wait.
        start_path: the only path that wakes the containers; ``""`` for any.
        patience: maximum number of seconds that a request waits.
        is_awake: whether the containers are still serving requests in progress while new requests wait.
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
