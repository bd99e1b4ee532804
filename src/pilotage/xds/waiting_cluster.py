"""Builds the answer that lets requests wait for a cluster for longer. Pure.

Envoy 1.40 gives up a cluster that it has asked for after 15 seconds without an answer, whatever the configuration says:
``XdstpOdCdsApiImpl`` ignores the given ``initial_fetch_timeout``. Requests then get status 503. So Envoy gets an answer
in time: under the name of the cluster, the definition of one from its bootstrap. Envoy ignores that, because a cluster
from the bootstrap cannot be changed, and the requests go on waiting.

Such an answer must be in a response of its own, because Envoy rejects a response that defines a cluster twice.
"""

from __future__ import annotations

from typing import Final

from envoy.config.cluster.v3 import cluster_pb2

from pilotage.xds.filters import CONTROL_CLUSTER
from pilotage.xds.resources import CLUSTER, Resource

__all__ = ["ANSWER_AFTER", "WAITING_VERSION", "waiting_cluster"]

ANSWER_AFTER: Final = 5.0
"""Seconds after which Envoy gets the answer, unless it has got the cluster."""

WAITING_VERSION: Final = "waiting"
"""The version in the answer. An Envoy that has it still waits for the cluster."""

_BODY: Final = cluster_pb2.Cluster(name=CONTROL_CLUSTER).SerializeToString(deterministic=True)


def waiting_cluster(name: str) -> Resource:
    """Return the answer for a cluster that an Envoy has asked for."""
    return Resource(CLUSTER, name, WAITING_VERSION, _BODY)
