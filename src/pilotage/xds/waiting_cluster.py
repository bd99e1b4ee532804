"""Builds the response resource that lets requests wait longer for a cluster. Pure.

Envoy 1.40 stops waiting for a cluster after 15 seconds without an answer, whatever the configuration says, because
``XdstpOdCdsApiImpl`` ignores the given ``initial_fetch_timeout``. Requests for the cluster then get status 503. So
pilotage answers before the 15 seconds are up. The answer has the awaited cluster's name, but defines a cluster that is
already in Envoy's bootstrap. Envoy ignores this definition, because a cluster from the bootstrap cannot be changed, and
the requests go on waiting.

Each of these answers needs a separate response: they all define the same cluster, and Envoy rejects a response that
defines a cluster twice.
"""

from __future__ import annotations

from typing import Final

from envoy.config.cluster.v3 import cluster_pb2

from pilotage.xds.filters import CONTROL_CLUSTER
from pilotage.xds.resources import CLUSTER, Resource

__all__ = ["ANSWER_AFTER", "WAITING_VERSION", "waiting_cluster"]

ANSWER_AFTER: Final = 5.0
"""Seconds after which Envoy gets the answer, unless it already has the cluster."""

WAITING_VERSION: Final = "waiting"
"""The version in the answer. An Envoy that has it still waits for the cluster."""

_BODY: Final = cluster_pb2.Cluster(name=CONTROL_CLUSTER).SerializeToString(deterministic=True)


def waiting_cluster(name: str) -> Resource:
    """Return the resource that answers an Envoy's request for a cluster and lets its requests wait longer."""
    return Resource(CLUSTER, name, WAITING_VERSION, _BODY)
