"""Tracks one Envoy's ADS session: which resources Envoy has or needs, and in which order to send them. Pure.

Clusters are sent before the scopes (route configurations) and listeners that reference them, and removed after them.
One response of each type is in flight at a time; later changes accumulate. When Envoy rejects a response, the session
bisects the response until it finds the rejected resource. It resends the rejected version only after
:meth:`Session.retry`.

A route whose cluster or virtual host is rejected answers 503, even if Envoy has an earlier version, because the earlier
address may belong to another container by now. The other routes of its scope do not wait (see
:mod:`~pilotage.xds.scope_parts`).

Envoy does not acknowledge clusters with health checks until it has probed each of their endpoints, which can take as
long as the slowest probe. It still applies later responses immediately. Clusters with health checks are therefore sent
last, in a response of their own. Further responses follow without waiting for their acknowledgement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pilotage.xds.client_limit import what_it_supports
from pilotage.xds.clusters import GRPC_SUFFIX
from pilotage.xds.nacks import Nack
from pilotage.xds.references import REFERENCING, ClusterReferences
from pilotage.xds.removals import RemovalHold
from pilotage.xds.resends import Resends
from pilotage.xds.resources import CLUSTER, LISTENER, SCOPE, Key, Resource, led_to
from pilotage.xds.session_state import SEND_ORDER, SessionState
from pilotage.xds.subscription import Response
from pilotage.xds.waiting_cluster import WAITING_VERSION, waiting_cluster

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from typing import Any

    from pilotage.xds.scope_parts import ClusterState
    from pilotage.xds.subscription import Subscription

__all__ = ["Session"]

_MAX_RESOURCES: Final = 2000
"""Maximum number of resources in one response. Those of usual routes have 1 to 2 KB each."""

_MAX_BYTES: Final = 8 * 1024 * 1024
"""Maximum size of the resources that are not from templates in one response, unless the first one is larger."""


class Session(SessionState):
    """The state of one Envoy. Pass it requests and changes, and send what :meth:`next_responses` returns.

    Attributes:
        now: loop time in seconds, set by the owner before :meth:`next_responses`.

    Args:
        resources: the resources that Envoy should have. The owner keeps this mapping current.
        removals: decides which resources must not be removed yet.

    """

    def __init__(self, resources: Mapping[Key, Resource], removals: RemovalHold | None = None) -> None:
        super().__init__(resources)
        self.now = 0.0
        self._removals = removals or RemovalHold()
        self._retried: set[Key] = set()  # rejected before, and to be sent again
        self._references, self._resends = ClusterReferences(), Resends()
        self._kept: set[str] = set()  # clusters that Envoy should keep waiting for
        self._last_nonce = 0

    def retry(self, keys: Iterable[Key]) -> None:
        """Send rejected resources again."""
        for type_url, name in keys:
            if type_url == SCOPE:
                self._variants.retry(name)
            self._retried |= {(type_url, name)} & self.nacks.keys()
            self._subscriptions[type_url].pending[name] = None

    def mark_changed(self, keys: Iterable[Key]) -> None:
        """Schedule resources that were added, changed or removed."""
        for type_url, name in keys:
            subscription = self._subscriptions[type_url]
            if subscription.active and (subscription.wildcard or name in subscription.names):
                subscription.pending[name] = None
                subscription.blocked.discard(name)
            item = self._resources.get((type_url, name))
            if item is None:
                self.nacks.pop((type_url, name), None)
                self._retried.discard((type_url, name))
            if type_url == SCOPE:
                self._variants.prune(name, item)

    def refuse(self, cluster: str) -> None:
        """Tell Envoy that a cluster for which it may be waiting does not exist, so that the requests for it fail."""
        subscription = self._subscriptions[CLUSTER]
        if cluster in subscription.names and (CLUSTER, cluster) not in self._resources:
            subscription.refused.add(cluster)
            subscription.pending[cluster] = None

    def keep_waiting(self, cluster: str) -> None:
        """Make Envoy keep waiting for a cluster that it has requested; see :mod:`pilotage.xds.waiting_cluster`."""
        subscription = self._subscriptions[CLUSTER]
        is_known = (CLUSTER, cluster) in self._resources or subscription.version(cluster) is not None
        if cluster in subscription.names and cluster not in subscription.refused and not is_known:
            self._kept.add(cluster)

    # ---- requests from Envoy

    def handle_request(self, request: Any) -> list[Nack]:
        """Process a request: an ACK, a NACK or a subscription. Return the resources that it rejects."""
        subscription = self._subscriptions.get(request.type_url)
        if request.node.id and not self.node:
            self.node = request.node.id
            self._resources = what_it_supports(request.node, self._resources)
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
        named = [name for name in added if name != "*"]
        subscription.pending |= dict.fromkeys(named)
        if request.type_url == CLUSTER:
            had = request.initial_resource_versions
            self.asked += [name for name in named if had.get(name, WAITING_VERSION) == WAITING_VERSION]
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
        if type_url == CLUSTER:
            self.before.update(names, request.initial_resource_versions)
        if request.initial_resource_versions:
            self._resends.take_over()
        for name, version in request.initial_resource_versions.items():
            if version == WAITING_VERSION:
                continue
            self.led_before.update(led_to(version))
            subscription.acked[name] = version
            if type_url == CLUSTER:
                self._references.add_initial(name)
            item = self._resources.get((type_url, name))
            if item is not None and version in item.versions:
                self._set_references((type_url, name), item.clusters)
            elif type_url in REFERENCING:
                self._references.unknown.add((type_url, name))
        if subscription.wildcard:
            wanted = [name for (of, name) in self._resources if of == type_url]
            subscription.pending |= dict.fromkeys(sorted({*wanted, *subscription.acked}))
        if type_url in REFERENCING:
            self._subscriptions[CLUSTER].unblock()

    def _on_ack(self, type_url: str, subscription: Subscription, response: Response) -> None:
        for name, item in response.resources.items():
            subscription.acked[name] = item.version
            self.nacks.pop((type_url, name), None)
            if type_url == SCOPE:
                self._variants.on_ack(item)
                self._resends.accepted(name)
            self._confirm_references((type_url, name), item.clusters)
            current = self._resources.get((type_url, name))
            if current is not None and current.version != subscription.version(name):
                subscription.pending[name] = None  # this was the version without checks, or the resource has changed
        for name in response.removed:
            subscription.acked.pop(name, None)
            if type_url == SCOPE:
                self._variants.removed(name)
                self._resends.accepted(name)
            self._confirm_references((type_url, name), frozenset())
        if type_url == CLUSTER:
            for referencing in REFERENCING:
                self._subscriptions[referencing].unblock()

    def _on_nack(self, type_url: str, subscription: Subscription, response: Response, error: str) -> list[Nack]:
        for name, clusters in response.references.items():
            self._set_references((type_url, name), clusters)
        names = [*response.resources, *sorted(response.removed)]
        if type_url == SCOPE:
            self._resends.rejected(names)
        if len(names) > 1:
            half = len(names) // 2
            subscription.bisection[:0] = [names[:half], names[half:]]
            subscription.pending |= dict.fromkeys(names)
            return []
        found = []
        for name, item in response.resources.items():
            if type_url == SCOPE and item.parts:
                subscription.pending[name] = None
                try:
                    host = self._variants.on_nack(item, error)
                except LookupError:  # the error is in something that all of its virtual hosts share
                    pass
                else:
                    found += [Nack(self._resources.get(item.key, item), error, host.name)] if host is not None else []
                    continue
            self.nacks[type_url, name] = Nack(item, error)
            found.append(self.nacks[type_url, name])
            if type_url == CLUSTER:
                self._revise(name)
        return found

    def _revise(self, cluster: str) -> None:
        """Schedule the resources that reference a rejected cluster, so that their routes answer 503."""
        for type_url, name in self._references.users(cluster):
            self._subscriptions[type_url].pending[name] = None

    # ---- responses to Envoy

    def next_responses(self) -> list[Any]:
        """Return all responses that can be sent now. The next ones exist once Envoy answers or a resource changes."""
        responses = []
        waiting = self._subscriptions[CLUSTER].refused  # tried again last, when what leads there is settled
        for type_url in (*SEND_ORDER, CLUSTER) if waiting else SEND_ORDER:
            subscription = self._subscriptions[type_url]
            while subscription.active and subscription.can_send:
                resources, removed = self._next_batch(type_url, subscription)
                if not resources and not removed and subscription.responded:
                    break
                responses.append(self._respond(type_url, subscription, resources, removed))
        return responses

    def _next_batch(self, type_url: str, subscription: Subscription) -> tuple[dict[str, Resource], set[str]]:
        if type_url == CLUSTER and (kept := self._next_kept()):
            return {kept: waiting_cluster(kept)}, set()
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

    def _next_kept(self) -> str:
        """Return the next cluster from :meth:`keep_waiting` for which Envoy still waits; ``""`` if there is none."""
        subscription = self._subscriptions[CLUSTER]
        while self._kept:
            name = self._kept.pop()
            if (
                name in subscription.names
                and name not in subscription.refused
                and (CLUSTER, name) not in self._resources
            ):
                return name
        return ""

    def _select(self, type_url: str, names: list[str], resources: dict[str, Resource], removed: set[str]) -> None:
        """Add the named resources that can be sent to ``resources`` and ``removed``. The others stay pending."""
        subscription = self._subscriptions[type_url]
        led_to_now = self._led_to_now() if subscription.refused else frozenset()
        for name in names:
            item = self._resources.get((type_url, name))
            if item is None:
                self._select_removal(type_url, name, removed, led_to_now)
            else:
                self._select_resource(item, resources, removed)
        if removed or any(item.first is None for item in resources.values()):
            for name in [name for name, item in resources.items() if item.first is not None]:
                del resources[name]  # stays pending: health checks go in a response of their own
        size, first = 0, next(iter(resources), "")
        for name, item in list(resources.items()):
            size += len(item.content) if isinstance(item.content, bytes) else 0
            if size > _MAX_BYTES and name != first:
                del resources[name]  # stays pending
        for name in (*resources, *removed):
            subscription.pending.pop(name, None)

    def _select_removal(self, type_url: str, name: str, removed: set[str], led_to_now: AbstractSet[str]) -> None:
        subscription = self._subscriptions[type_url]
        if name in subscription.refused:
            if name.removesuffix(GRPC_SUFFIX) in led_to_now:
                return  # stays pending
            subscription.refused.discard(name)
            subscription.names.discard(name)
            removed.add(name)
        elif self._removals.holds((type_url, name)) or not self._may_have(type_url, name):
            subscription.pending.pop(name, None)
        elif type_url != CLUSTER or self._references.is_unreferenced(name, complete=self.has_subscribed):
            removed.add(name)
        else:
            subscription.pending.pop(name, None)
            subscription.blocked.add(name)

    def _may_have(self, type_url: str, name: str) -> bool:
        is_stored = type_url == SCOPE and self._resends.may_be_stored(name)
        return is_stored or self._subscriptions[type_url].version(name) is not None

    def _select_resource(self, item: Resource, resources: dict[str, Resource], removed: set[str]) -> None:
        subscription, name = self._subscriptions[item.type_url], item.name
        is_new = subscription.acked.get(name) is None
        states = {it: self._cluster_state(it, accept_unacked=is_new) for it in item.clusters}
        waits = False
        wanted = item
        if item.parts:
            choice = self._variants.choose(item, states, is_new=is_new)
            waits = choice.waits
            if choice.scope is None:
                return  # stays pending
            wanted = choice.scope
        elif "rejected" in states.values():
            subscription.blocked.add(name)
            if item.type_url == LISTENER and subscription.version(name) is not None:
                removed.add(name)  # it leads to an address that may belong to another container by now
            else:
                subscription.pending.pop(name, None)
            return
        elif "waiting" in states.values():
            return
        version = self._next_version(wanted, subscription.version(name))
        if version is not None:
            resources[name] = version
        elif not waits:
            subscription.pending.pop(name, None)
            if wanted is not item:
                subscription.blocked.add(name)

    def _next_version(self, item: Resource, current: str | None) -> Resource | None:
        """Return the version of a resource to send next; ``None`` if Envoy has or rejects the wanted version."""
        done = {current, "" if item.key in self._retried else self._nacked_version(item.key)}
        if item.version in done:
            return None
        return item.first if item.first is not None and item.first.version not in done else item

    def _cluster_state(self, name: str, *, accept_unacked: bool) -> ClusterState:
        """Return whether Envoy has the current version of a cluster.

        Args:
            name: name of the cluster.
            accept_unacked: while Envoy probes endpoints, accept a cluster that it has been sent but has not
                acknowledged. This is for resources that Envoy does not have yet: even if it rejects the cluster, no
                working route breaks.

        """
        clusters = self._subscriptions[CLUSTER]
        item = self._resources.get((CLUSTER, name))
        acked = clusters.acked.get(name)
        if item is not None and self._nacked_version(item.key) in item.versions and acked not in item.versions:
            return "rejected"
        version = clusters.version(name) if accept_unacked and clusters.is_probing else acked
        if version is None or clusters.version(name) is None:
            return "waiting"
        return "usable" if item is None or version in item.versions else "waiting"

    def _nacked_version(self, key: Key) -> str:
        nack = self.nacks.get(key)
        return nack.resource.version if nack is not None else ""

    def _respond(
        self, type_url: str, subscription: Subscription, resources: dict[str, Resource], removed: set[str]
    ) -> Any:
        self._last_nonce += 1
        nonce = str(self._last_nonce)
        references = {name: self._references.get((type_url, name)) for name in resources}
        response = Response(nonce, resources, removed, references, self.now)
        if type_url == SCOPE:
            response.marks = {name: mark for name in resources if (mark := self._resends.mark(name, self.now))}
        subscription.in_flight.append(response)
        subscription.responded = True
        for name, item in resources.items():
            self._set_references((type_url, name), item.clusters | references[name])
            self._retried.discard((type_url, name))
        return response.message(type_url)

    # ---- references to clusters

    def _confirm_references(self, key: Key, clusters: frozenset[str]) -> None:
        """Set the references of a resource that Envoy has acknowledged."""
        self._set_references(key, clusters)
        if key in self._references.unknown:
            self._references.unknown.discard(key)
            if not self._references.unknown:
                self._subscriptions[CLUSTER].unblock()

    def _set_references(self, key: Key, clusters: frozenset[str]) -> None:
        subscription = self._subscriptions[CLUSTER]
        for name in self._references.set(key, clusters):
            if name in subscription.blocked:
                subscription.blocked.discard(name)
                subscription.pending[name] = None
