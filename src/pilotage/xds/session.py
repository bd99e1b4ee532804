"""Tracks one Envoy's ADS session: what it has, what it still needs, and in which order to send that. Pure.

Clusters are sent before the scopes and listeners that reference them, and removed after them. One response of each type
is in flight at a time; later changes accumulate. When Envoy rejects a response, the session bisects it until the
rejected resource is found. It does not send that version again; Envoy keeps the last version that it accepted.

Envoy does not acknowledge clusters with health checks until it has probed each of their endpoints, which can take as
long as the slowest probe. It still applies later responses at once. So clusters with health checks are sent last and in
a response of their own, and until Envoy acknowledges them, further responses follow without waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from pilotage.xds.resources import CLUSTER, LISTENER, SCOPE, SECRET, Key, Resource
from pilotage.xds.subscription import Response, Subscription

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["HTTP_LISTENERS", "Nack", "Session"]

_SEND_ORDER: Final = (CLUSTER, SECRET, LISTENER, SCOPE)
_REFERENCING: Final = (LISTENER, SCOPE)
HTTP_LISTENERS: Final = ((LISTENER, "http"), (LISTENER, "https"))
"""The listeners that all HTTP routes share. An Envoy that has one subscribes to scopes."""
_MAX_RESOURCES: Final = 2000
"""Maximum number of resources in one response, which keeps it well below gRPC's limit of 4 MB."""


class Nack(msgspec.Struct, frozen=True):
    """A resource that Envoy rejected, and its error message."""

    resource: Resource
    error: str


class Session:
    """The state of one Envoy. Pass it requests and changes, and send what :meth:`next_responses` returns.

    Attributes:
        node: Envoy's node ID, ``""`` before its first request.
        nacks: the versions that Envoy rejected.

    Args:
        resources: what Envoy should have. The owner keeps this mapping current.

    """

    def __init__(self, resources: Mapping[Key, Resource]) -> None:
        self.node = ""
        self.nacks: dict[Key, Nack] = {}
        self._resources = resources
        self._subscriptions = {type_url: Subscription() for type_url in _SEND_ORDER}
        self._references: dict[Key, frozenset[str]] = {}  # what Envoy has, or may have -> clusters that it references
        self._reference_counts: dict[str, int] = {}  # cluster -> number of references
        self._unknown_versions: set[Key] = set()  # from before this session, so their references are unknown
        self._initial_clusters: set[str] = set()  # from before this session; unknown versions may reference them
        self._last_nonce = 0

    @property
    def in_sync(self) -> bool:
        """Whether Envoy has acknowledged or rejected everything that it subscribes to."""
        if not self._has_subscribed:
            return False
        return all(it.responded and not it.in_flight and not it.pending for it in self._active())

    def _active(self) -> list[Subscription]:
        return [it for it in self._subscriptions.values() if it.active]

    @property
    def _has_subscribed(self) -> bool:
        return all(self._subscriptions[type_url].active for type_url in self._expected_types())

    def _expected_types(self) -> tuple[str, ...]:
        """Return the types that Envoy is sure to subscribe to: scopes only once it has a listener that needs them."""
        needs_scopes = any(key in self._resources and not self.is_missing(key) for key in HTTP_LISTENERS)
        return (CLUSTER, LISTENER, SCOPE) if needs_scopes else (CLUSTER, LISTENER)

    def is_pending(self, key: Key) -> bool:
        """Return whether a resource is still to be sent, acknowledged or rejected."""
        subscription = self._subscriptions[key[0]]
        if not subscription.active:
            return key[0] in self._expected_types()
        name = key[1]
        return name in subscription.pending or any(
            name in it.resources or name in it.removed for it in subscription.in_flight
        )

    def is_missing(self, key: Key) -> bool:
        """Return whether Envoy rejected a resource and has no earlier version of it."""
        return key in self.nacks and key in self._resources and self._subscriptions[key[0]].version(key[1]) is None

    def has_current(self, key: Key) -> bool:
        """Return whether Envoy has acknowledged the current version of a resource, or that of a cluster without checks.

        While Envoy probes, it acknowledges nothing, so a version that has been sent counts.
        """
        item, subscription = self._resources.get(key), self._subscriptions[key[0]]
        version = subscription.version(key[1]) if subscription.is_probing else subscription.acked.get(key[1])
        return item is not None and version is not None and version in _versions(item)

    def mark_changed(self, keys: Iterable[Key]) -> None:
        """Schedule resources that were added, changed or removed."""
        for type_url, name in keys:
            subscription = self._subscriptions[type_url]
            if subscription.active and (subscription.wildcard or name in subscription.names):
                subscription.pending[name] = None
                subscription.blocked.discard(name)

    # ---- requests from Envoy

    def handle_request(self, request: Any) -> list[Nack]:
        """Process a request: an ACK, a NACK or a subscription. Return the resources that it rejects."""
        subscription = self._subscriptions.get(request.type_url)
        if request.node.id:
            self.node = request.node.id
        if subscription is None:
            return []
        nacks: list[Nack] = []
        for response in [it for it in subscription.in_flight if it.nonce == request.response_nonce]:
            subscription.in_flight.remove(response)
            if request.HasField("error_detail"):
                nacks = self._on_nack(request.type_url, subscription, response, request.error_detail.message)
            else:
                self._on_ack(request.type_url, subscription, response)
        self._subscribe(request, subscription)
        return nacks

    def _subscribe(self, request: Any, subscription: Subscription) -> None:
        added = request.resource_names_subscribe
        if not subscription.active:
            self._activate(request, subscription)
        subscription.names.update(added)
        subscription.pending |= dict.fromkeys(name for name in added if name != "*")
        for name in request.resource_names_unsubscribe:
            subscription.names.discard(name)
            if not subscription.wildcard:
                subscription.acked.pop(name, None)
                subscription.pending.pop(name, None)

    def _activate(self, request: Any, subscription: Subscription) -> None:
        """Process the first request of a type, which lists the versions that Envoy already has."""
        type_url, names = request.type_url, request.resource_names_subscribe
        subscription.active = True
        subscription.wildcard = not names or "*" in names
        for name, version in request.initial_resource_versions.items():
            subscription.acked[name] = version
            if type_url == CLUSTER:
                self._initial_clusters.add(name)
            item = self._resources.get((type_url, name))
            if item is not None and version in _versions(item):
                self._set_references((type_url, name), item.clusters)
            elif type_url in _REFERENCING:
                self._unknown_versions.add((type_url, name))
        if subscription.wildcard:
            wanted = [name for (of, name) in self._resources if of == type_url]
            subscription.pending |= dict.fromkeys(sorted({*wanted, *subscription.acked}))
        if type_url in _REFERENCING:
            self._subscriptions[CLUSTER].unblock()

    def _on_ack(self, type_url: str, subscription: Subscription, response: Response) -> None:
        for name, item in response.resources.items():
            subscription.acked[name] = item.version
            self.nacks.pop((type_url, name), None)
            self._confirm_references((type_url, name), item.clusters)
            current = self._resources.get((type_url, name))
            if current is not None and current.version != subscription.version(name):
                subscription.pending[name] = None  # this was the version without checks, or the resource has changed
        for name in response.removed:
            subscription.acked.pop(name, None)
            self._confirm_references((type_url, name), frozenset())
        if type_url == CLUSTER:
            for referencing in _REFERENCING:
                self._subscriptions[referencing].unblock()

    def _on_nack(self, type_url: str, subscription: Subscription, response: Response, error: str) -> list[Nack]:
        for name, clusters in response.references.items():
            self._set_references((type_url, name), clusters)
        names = [*response.resources, *sorted(response.removed)]
        if len(names) > 1:
            half = len(names) // 2
            subscription.bisection[:0] = [names[:half], names[half:]]
            subscription.pending |= dict.fromkeys(names)
            return []
        nacks = {(type_url, name): Nack(item, error) for name, item in response.resources.items()}
        self.nacks |= nacks
        return list(nacks.values())

    # ---- responses to Envoy

    def next_responses(self) -> list[Any]:
        """Return what can be sent now. Returns nothing more until Envoy answers or a resource changes."""
        responses = []
        for type_url in _SEND_ORDER:
            subscription = self._subscriptions[type_url]
            while subscription.active and subscription.can_send:
                resources, removed = self._next_batch(type_url, subscription)
                if not resources and not removed and subscription.responded:
                    break
                responses.append(self._respond(type_url, subscription, resources, removed))
        return responses

    def _next_batch(self, type_url: str, subscription: Subscription) -> tuple[dict[str, Resource], set[str]]:
        resources: dict[str, Resource] = {}
        removed: set[str] = set()
        while subscription.bisection and not resources and not removed:
            self._select(type_url, subscription.bisection.pop(0), resources, removed)
        names = list(subscription.pending)
        # Skip batches with nothing to send, because Envoy already has these resources or they wait for their clusters.
        for start in range(0, len(names), _MAX_RESOURCES):
            if resources or removed:
                break
            self._select(type_url, names[start : start + _MAX_RESOURCES], resources, removed)
        return resources, removed

    def _select(self, type_url: str, names: list[str], resources: dict[str, Resource], removed: set[str]) -> None:
        """Add the resources with some names to a response, as far as they can be sent. The others stay pending."""
        subscription = self._subscriptions[type_url]
        for name in names:
            item = self._resources.get((type_url, name))
            if item is None:
                self._select_removal(type_url, name, removed)
            else:
                self._select_resource(item, resources)
        if removed or any(item.first is None for item in resources.values()):
            for name in [name for name, item in resources.items() if item.first is not None]:
                del resources[name]  # stays pending: health checks go in a response of their own
        for name in (*resources, *removed):
            subscription.pending.pop(name, None)

    def _select_removal(self, type_url: str, name: str, removed: set[str]) -> None:
        subscription = self._subscriptions[type_url]
        if subscription.version(name) is None:
            subscription.pending.pop(name, None)
        elif type_url != CLUSTER or self._is_unreferenced(name):
            removed.add(name)
        else:
            subscription.pending.pop(name, None)
            subscription.blocked.add(name)

    def _select_resource(self, item: Resource, resources: dict[str, Resource]) -> None:
        subscription, name = self._subscriptions[item.type_url], item.name
        version = self._next_version(item, subscription.version(name))
        if version is None:
            subscription.pending.pop(name, None)
            return
        is_new = subscription.acked.get(name) is None
        missing = [it for it in item.clusters if not self._can_reference(it, accept_unacked=is_new)]
        if not missing:
            resources[name] = version
        elif any((CLUSTER, cluster) in self.nacks for cluster in missing):
            subscription.pending.pop(name, None)
            subscription.blocked.add(name)

    def _next_version(self, item: Resource, current: str | None) -> Resource | None:
        """Return the version of a resource to send next; ``None`` if Envoy has it or has rejected it."""
        done = {current, self._nacked_version(item.key)}
        if item.version in done:
            return None
        return item.first if item.first is not None and item.first.version not in done else item

    def _can_reference(self, cluster: str, *, accept_unacked: bool) -> bool:
        """Return whether Envoy has the current version of a cluster, or an older one if it rejected the current one.

        Args:
            cluster: its name.
            accept_unacked: while Envoy probes, accept a cluster that it has been sent but not acknowledged. This is for
                resources that Envoy does not have yet: if it rejects the cluster, no working route breaks.

        """
        clusters = self._subscriptions[CLUSTER]
        version = clusters.version(cluster) if accept_unacked and clusters.is_probing else clusters.acked.get(cluster)
        if version is None or clusters.version(cluster) is None:
            return False
        item = self._resources.get((CLUSTER, cluster))
        return item is None or version in _versions(item) or self._nacked_version(item.key) in _versions(item)

    def _nacked_version(self, key: Key) -> str:
        nack = self.nacks.get(key)
        return nack.resource.version if nack is not None else ""

    def _is_unreferenced(self, cluster: str) -> bool:
        if self._reference_counts.get(cluster):
            return False
        return cluster not in self._initial_clusters or (self._has_subscribed and not self._unknown_versions)

    def _respond(
        self, type_url: str, subscription: Subscription, resources: dict[str, Resource], removed: set[str]
    ) -> Any:
        self._last_nonce += 1
        nonce = str(self._last_nonce)
        references = {name: self._references.get((type_url, name), frozenset()) for name in resources}
        subscription.in_flight.append(Response(nonce, resources, removed, references))
        subscription.responded = True
        for name, item in resources.items():
            self._set_references((type_url, name), item.clusters | references[name])
        return discovery_pb2.DeltaDiscoveryResponse(
            type_url=type_url,
            nonce=nonce,
            resources=[
                discovery_pb2.Resource(
                    name=name, version=item.version, resource=any_pb2.Any(type_url=type_url, value=item.body)
                )
                for name, item in resources.items()
            ],
            removed_resources=sorted(removed),
        )

    # ---- references to clusters

    def _confirm_references(self, key: Key, clusters: frozenset[str]) -> None:
        """Set the references of the resources that Envoy has acknowledged."""
        self._set_references(key, clusters)
        if key in self._unknown_versions:
            self._unknown_versions.discard(key)
            if not self._unknown_versions:
                self._subscriptions[CLUSTER].unblock()

    def _set_references(self, key: Key, clusters: frozenset[str]) -> None:
        if key[0] not in _REFERENCING:
            return
        before = self._references.pop(key, frozenset())
        if clusters:
            self._references[key] = clusters
        _count(self._reference_counts, clusters - before, 1)
        subscription = self._subscriptions[CLUSTER]
        for name in _count(self._reference_counts, before - clusters, -1):
            if name in subscription.blocked:
                subscription.blocked.discard(name)
                subscription.pending[name] = None


def _count(counts: dict[str, int], names: Iterable[str], change: int) -> list[str]:
    """Change the counts of some names; return those that reached zero."""
    unreferenced = []
    for name in names:
        counts[name] = counts.get(name, 0) + change
        if not counts[name]:
            del counts[name]
            unreferenced.append(name)
    return unreferenced


def _versions(item: Resource) -> tuple[str, ...]:
    return (item.version, item.first.version) if item.first is not None else (item.version,)
