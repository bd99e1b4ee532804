"""Tracks which resources one Envoy has, has not answered yet, and rejects. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pilotage.xds.nacks import Nack
from pilotage.xds.resources import CLUSTER, EXTENSION, LISTENER, SCOPE, SECRET, Key, Resource, led_to
from pilotage.xds.scope_parts import ScopeVariants
from pilotage.xds.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HTTP_LISTENERS", "SEND_ORDER", "SessionState"]

SEND_ORDER: Final = (CLUSTER, SECRET, EXTENSION, LISTENER, SCOPE)
"""The resource types, in the order in which Envoy gets them."""
HTTP_LISTENERS: Final = ((LISTENER, "http"), (LISTENER, "https"))
"""The listeners that all HTTP routes share. An Envoy that has one subscribes to scopes."""


class SessionState:
    """The state of one Envoy.

    Attributes:
        node: Envoy's node ID, ``""`` before its first request.
        nacks: the versions that Envoy rejected, except for virtual hosts; see :attr:`rejections`.
        asked: the clusters that Envoy has asked for by name since the owner last emptied this list.
        before: the clusters that Envoy had before this session, or for which it had asked.
        led_before: the clusters to which requests were sent before this session. Some requests may still have waited
            for these clusters.

    Args:
        resources: the resources that Envoy should have. The owner keeps this mapping current.

    """

    def __init__(self, resources: Mapping[Key, Resource]) -> None:
        self.node = ""
        self.nacks: dict[Key, Nack] = {}
        self.asked: list[str] = []
        self.before: set[str] = set()
        self.led_before: set[str] = set()
        self._resources = resources
        self._subscriptions = {type_url: Subscription() for type_url in SEND_ORDER}
        self._variants = ScopeVariants()

    @property
    def in_sync(self) -> bool:
        """Whether Envoy has acknowledged or rejected everything that it subscribes to."""
        if not self.has_subscribed:
            return False
        return all(it.responded and not it.in_flight and not it.pending for it in self._active())

    @property
    def rejections(self) -> list[Nack]:
        """The resources, and virtual hosts of scopes, that Envoy has rejected but should still have."""
        found = [it for it in self.nacks.values() if self._is_wanted(it.resource)]
        for name, hosts in self._variants.rejected.items():
            scope = self._resources.get((SCOPE, name))
            found += [Nack(scope, error, host.name) for host, error in hosts.items() if scope is not None]
        return found

    def _is_wanted(self, item: Resource) -> bool:
        current = self._resources.get(item.key)
        return current is not None and (item.type_url == SCOPE or item.version in current.versions)

    @property
    def rejected_keys(self) -> set[Key]:
        """The resources that Envoy rejects, and those in which it rejects a virtual host."""
        return {*self.nacks, *((SCOPE, name) for name in self._variants.rejected)}

    def _active(self) -> list[Subscription]:
        return [it for it in self._subscriptions.values() if it.active]

    @property
    def has_subscribed(self) -> bool:
        """Whether Envoy has listed the resources that it has of every type."""
        return all(self._subscriptions[type_url].active for type_url in self._expected_types())

    def _expected_types(self) -> tuple[str, ...]:
        """Return the resource types that Envoy is sure to subscribe to.

        Scopes (route configurations) are included only once Envoy has a listener that needs them.
        """
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

    @property
    def waiting(self) -> int:
        """Number of resources that are still to be sent, acknowledged or rejected."""
        return sum(len(it.pending) + it.unanswered for it in self._active())

    def unanswered_since(self, heard: float) -> float | None:
        """Return since when (loop time) Envoy has left a response unanswered; ``None`` if it has answered all.

        Args:
            heard: when Envoy's last request arrived. For an Envoy that has not subscribed yet, this time is returned.

        """
        sent = [it.in_flight[0].sent for it in self._active() if it.in_flight and not it.is_probing]
        if sent:
            return min(sent)
        return None if self.has_subscribed or any(it.is_probing for it in self._active()) else heard

    def accepted_version(self, key: Key) -> str | None:
        """Return the version of a resource that Envoy has acknowledged; ``None`` if there is none."""
        return self._subscriptions[key[0]].acked.get(key[1])

    def state_of(self, key: Key, host: str) -> Literal["accepted", "rejected", "waiting"]:
        """Return whether Envoy has accepted or rejected a resource's current version or, in a scope, a host's."""
        item = self._resources.get(key)
        if key in self.nacks and item is not None and self._is_wanted(self.nacks[key].resource):
            return "rejected"
        if key[0] == SCOPE and any(it.name == host for it in self._variants.rejected.get(key[1], ())):
            return "rejected"
        current = self.has_current(key) or (key[0] == SCOPE and item is not None and self._variants.has(item, host))
        return "accepted" if current else "waiting"

    def is_missing(self, key: Key) -> bool:
        """Return whether Envoy rejected a resource and has no earlier version of it."""
        return key in self.nacks and key in self._resources and self._subscriptions[key[0]].version(key[1]) is None

    def has_current(self, key: Key) -> bool:
        """Return whether Envoy has acknowledged a resource's current version, or that version without health checks.

        While Envoy probes endpoints, it acknowledges nothing, so a version that has been sent counts as acknowledged.
        """
        item, subscription = self._resources.get(key), self._subscriptions[key[0]]
        version = subscription.version(key[1]) if subscription.is_probing else subscription.acked.get(key[1])
        return item is not None and version is not None and version in item.versions

    def _led_to_now(self) -> set[str]:
        """Return the clusters to which Envoy may still send requests, because it has not acknowledged a change yet.

        Such a change is to a scope (a route configuration) or to the filter of a tcp route. Envoy 1.40 asks for a
        cluster only once. If it learns too early that the cluster does not exist, later requests to it wait in vain.
        Therefore, the session removes the cluster only after Envoy has acknowledged the change.
        """
        found: set[str] = set()
        for leading in (self._subscriptions[SCOPE], self._subscriptions[EXTENSION]):
            changing = [*leading.pending, *(name for it in leading.in_flight for name in (*it.resources, *it.removed))]
            found.update(cluster for name in changing for cluster in led_to(leading.acked.get(name, "")))
        return found
