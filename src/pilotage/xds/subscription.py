"""Tracks an Envoy's subscription to a resource type: its acknowledged, unanswered and pending resources. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from pilotage.xds.resources import Resource

__all__ = ["Response", "Subscription"]

_MAX_IN_FLIGHT: Final = 100
"""Maximum number of unanswered responses while Envoy probes."""


class Response(msgspec.Struct):
    """A response that Envoy has not answered yet.

    Attributes:
        nonce: identifies Envoy's answer to this response.
        resources: name -> resource that this response adds or changes.
        removed: names of the resources that this response removes.
        references: for each of these resources, the clusters that it referenced before.
        sent: loop time at which the response was made, in seconds.
        marks: the bytes to append to each of these resources that needs some; see :mod:`pilotage.xds.resends`.

    """

    nonce: str
    resources: dict[str, Resource]
    removed: set[str]
    references: dict[str, frozenset[str]]
    sent: float = 0.0
    marks: dict[str, bytes] = {}

    def message(self, type_url: str) -> Any:
        """Return the protocol message."""
        return discovery_pb2.DeltaDiscoveryResponse(
            type_url=type_url,
            nonce=self.nonce,
            resources=[
                discovery_pb2.Resource(
                    name=name,
                    version=item.version,
                    resource=any_pb2.Any(type_url=type_url, value=item.body + self.marks.get(name, b"")),
                )
                for name, item in self.resources.items()
            ],
            removed_resources=sorted(self.removed),
        )

    @property
    def has_health_checks(self) -> bool:
        """Whether it carries clusters with health checks. Envoy answers it only after it has probed them."""
        return any(item.first is not None for item in self.resources.values())


class Subscription:
    """The state of one resource type.

    Attributes:
        active: whether Envoy has subscribed.
        wildcard: whether Envoy subscribes to every resource of this type.
        names: the names of the resources to which Envoy subscribes.
        responded: whether we have sent a first response. Envoy needs one even if there are no resources.
        acked: name -> version that Envoy has acknowledged.
        pending: names whose version in Envoy may be outdated, oldest first.
        in_flight: responses that Envoy has not answered yet, oldest first.
        bisection: batches to send separately because Envoy rejected one of their resources.
        refused: names of resources for which Envoy has asked but that do not exist. Envoy waits for each until pilotage
            says that it does not exist.
        blocked: resources that reference a rejected cluster, and removed clusters that are still referenced.

    """

    def __init__(self) -> None:
        self.active = False
        self.wildcard = False
        self.names: set[str] = set()
        self.responded = False
        self.acked: dict[str, str] = {}
        self.pending: dict[str, None] = {}
        self.in_flight: list[Response] = []
        self.bisection: list[list[str]] = []
        self.refused: set[str] = set()
        self.blocked: set[str] = set()

    @property
    def is_probing(self) -> bool:
        """Whether Envoy delays its next answer, and all later ones, until it has probed endpoints."""
        return bool(self.in_flight) and self.in_flight[0].has_health_checks

    @property
    def can_send(self) -> bool:
        """Whether another response may be sent now."""
        return not self.in_flight or (self.is_probing and len(self.in_flight) < _MAX_IN_FLIGHT)

    @property
    def unanswered(self) -> int:
        """Number of resources in responses that Envoy has not yet acknowledged or rejected."""
        return sum(len(it.resources) + len(it.removed) for it in self.in_flight)

    def version(self, name: str) -> str | None:
        """Return the version of a resource that Envoy has or was sent last; ``None`` if removed or never sent."""
        for response in reversed(self.in_flight):
            if name in response.resources:
                return response.resources[name].version
            if name in response.removed:
                return None
        return self.acked.get(name)

    def unblock(self) -> None:
        """Move all :attr:`blocked` resources back to :attr:`pending`."""
        self.pending |= dict.fromkeys(sorted(self.blocked))
        self.blocked.clear()
