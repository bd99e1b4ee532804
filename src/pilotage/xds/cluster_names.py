"""Names the clusters of backends whose requests may wait in Envoys, and the statistics of clusters. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from pilotage.routes.gate import Gate

__all__ = [
    "UNREAD",
    "ClusterNames",
    "epoch_cluster",
    "epoch_of",
    "gate_key",
    "gate_names",
    "gate_of",
    "hold_cluster",
    "key_of",
    "pool_gate",
]


UNREAD: Final = "unread"
"""Name of the statistics of all clusters of single routes. Nothing reads these statistics, so Envoy does not keep them.
Envoy recognizes one common name at once; with a name for each cluster, it would remember many excluded names."""


class ClusterNames(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The clusters of a backend whose requests may wait in Envoys.

    Attributes:
        current: the cluster to which new requests are sent.
        others: further clusters that Envoys have, because requests in them may be in progress.
        absent: whether Envoys do not have the current cluster, so that requests wait.
        answers: whether requests in the other clusters still reach the endpoints while the current cluster is absent.
        patience: maximum number of seconds that a request waits.

    """

    current: str
    others: tuple[str, ...] = ()
    absent: bool = False
    answers: bool = False
    patience: float = 0.0


def pool_gate(pool: str) -> str:
    """Return ``POOL/NAME``, a pool's name in :mod:`pilotage.sleep`. No alias contains capital letters."""
    return f"POOL/{pool}"


_SLEEP: Final = "sleep/"
_HOLD: Final = "hold/"
"""Prefixes of cluster names. No key of a backend begins with them."""


def epoch_cluster(gate: str, epoch: int) -> str:
    """Return the cluster name in one epoch for an alias or :func:`pool_gate` whose containers can sleep."""
    return f"{_SLEEP}{epoch}/{gate}"


def hold_cluster(key: str, epoch: int) -> str:
    """Return the cluster name in one epoch for a backend whose requests have waited for an endpoint."""
    return f"{_HOLD}{epoch}/{key}" if epoch else key


def gate_of(cluster: str) -> str:
    """Return the alias, or :func:`pool_gate`, in a name from :func:`epoch_cluster`; ``""`` for other names."""
    return cluster.split("/", 2)[-1] if cluster.startswith(_SLEEP) else ""


def epoch_of(cluster: str) -> int:
    """Return the epoch in the name of a cluster; 0 if the name contains no epoch."""
    if not cluster.startswith((_SLEEP, _HOLD)):
        return 0
    number = cluster.split("/", 2)[1]
    return int(number) if re.fullmatch(r"[0-9]{1,15}", number) else 0


def gate_key(gate: str) -> str:
    """Return the key of a backend, given its alias or the result of :func:`pool_gate`."""
    return gate.replace("POOL/", "pool/", 1) if gate.startswith("POOL/") else f"route/{gate}"


def key_of(cluster: str) -> str:
    """Return the key of a cluster's backend, given the name of the cluster."""
    if gate := gate_of(cluster):
        return gate_key(gate)
    return cluster.split("/", 2)[-1] if cluster.startswith(_HOLD) else cluster


def gate_names(name: str, gate: Gate) -> ClusterNames:
    """Return the clusters of a backend whose containers can sleep; ``name`` is an alias or from :func:`pool_gate`."""
    is_open = gate.opening == "open"
    others = (*gate.busy, *(gate.waiting if is_open else ()))
    return ClusterNames(
        current=epoch_cluster(name, gate.epoch),
        others=tuple(epoch_cluster(name, epoch) for epoch in others),
        absent=not is_open,
        answers=gate.is_awake,
        patience=gate.patience,
    )
