"""One Envoy's conversation: what it has, what it still lacks, and in which order it gets that. Pure.

Clusters go before the scopes and listeners that lead to them, and are withdrawn after them. Each kind has one message
on its way at a time; what changes meanwhile gathers. What Envoy refuses is looked for by halves until one resource is
left; that version of it is not offered again, and what Envoy accepted last stays in force.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from pilotage.xds.messages import CLUSTER, LISTENER, SCOPE, SECRET, Key, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["Refusal", "Session"]

_ORDER: Final = (CLUSTER, SECRET, LISTENER, SCOPE)
_LEADING: Final = (LISTENER, SCOPE)
_MOST_AT_ONCE: Final = 2000
"""Resources in one message: keeps each well below gRPC's 4 MB."""


class Refusal(msgspec.Struct, frozen=True):
    """A resource that Envoy did not accept, and what it said."""

    resource: Resource
    said: str


class _Sent(msgspec.Struct):
    """A message on its way: what it carries, and what it takes back."""

    nonce: str
    carried: dict[str, Resource]
    withdrawn: set[str]


class _Kind:
    """What is known of one type of resource."""

    def __init__(self) -> None:
        self.subscribed = False
        self.everything = False
        self.names: set[str] = set()
        self.answered = False
        self.has: dict[str, str] = {}  # name -> version
        self.due: dict[str, None] = {}  # names whose state may differ, oldest first
        self.sent: _Sent | None = None
        self.suspects: list[list[str]] = []  # batches to be offered apart, since one of them was refused
        self.stuck: set[str] = set()  # what leads to a refused cluster; clusters that are led to though they are gone


class Session:
    """What is to be said to one Envoy. Feed it requests and changes, send what :meth:`messages` returns.

    Attributes:
        node: what Envoy calls itself; ``""`` until it has said so.
        refused: the versions that it did not accept, and what it said of them.

    Args:
        resources: what it should have, kept up to date by others.

    """

    def __init__(self, resources: Mapping[Key, Resource]) -> None:
        self.node = ""
        self.refused: dict[Key, Refusal] = {}
        self._resources = resources
        self._kinds = {type_url: _Kind() for type_url in _ORDER}
        self._leads: dict[Key, frozenset[str]] = {}  # what Envoy has, or may have -> the clusters it leads to
        self._used: dict[str, int] = {}  # cluster -> how many of these
        self._unknown: set[Key] = set()  # had before this conversation, in a version that we do not know
        self._count = 0

    @property
    def settled(self) -> bool:
        """Everything that Envoy asked for has been sent, and acknowledged or refused."""
        if not all(self._kinds[type_url].subscribed for type_url in self._expected()):
            return False
        return all(kind.answered and not kind.sent and not kind.due for kind in self._kinds.values() if kind.subscribed)

    def _expected(self) -> tuple[str, ...]:
        """Return what Envoy is sure to ask for: scopes, once it has a listener that needs them."""
        scoped = any((LISTENER, name) in self._resources for name in ("http", "https"))
        return (CLUSTER, LISTENER, SCOPE) if scoped else (CLUSTER, LISTENER)

    def awaits(self, key: Key) -> bool:
        """Tell whether a resource is still to be sent, or to be acknowledged."""
        kind = self._kinds[key[0]]
        if not kind.subscribed:
            return key[0] in self._expected()
        sent = kind.sent
        return key[1] in kind.due or (sent is not None and (key[1] in sent.carried or key[1] in sent.withdrawn))

    def has(self, key: Key) -> bool:
        """Tell whether Envoy has acknowledged a resource as it is now (a cluster also without its checks)."""
        item = self._resources.get(key)
        version = self._kinds[key[0]].has.get(key[1])
        return item is not None and version is not None and version in _versions(item)

    def changed(self, keys: Iterable[Key]) -> None:
        """Note that resources are new, different or gone."""
        for type_url, name in keys:
            kind = self._kinds[type_url]
            if kind.subscribed and (kind.everything or name in kind.names):
                kind.due[name] = None
                kind.stuck.discard(name)

    # ---- what Envoy says

    def receive(self, request: Any) -> list[Refusal]:
        """Take in a request; return what it refuses."""
        kind = self._kinds.get(request.type_url)
        if request.node.id:
            self.node = request.node.id
        if kind is None:
            return []
        refusals: list[Refusal] = []
        if request.response_nonce and kind.sent is not None and request.response_nonce == kind.sent.nonce:
            sent, kind.sent = kind.sent, None
            if request.HasField("error_detail"):
                refusals = self._refuse(request.type_url, kind, sent, request.error_detail.message)
            else:
                self._accept(request.type_url, kind, sent)
        self._subscribe(request, kind)
        return refusals

    def _subscribe(self, request: Any, kind: _Kind) -> None:
        type_url = request.type_url
        wanted, unwanted = request.resource_names_subscribe, request.resource_names_unsubscribe
        if not kind.subscribed:
            kind.subscribed = True
            kind.everything = not wanted or "*" in wanted
            for name, version in request.initial_resource_versions.items():
                kind.has[name] = version
                item = self._resources.get((type_url, name))
                if item is not None and version in _versions(item):
                    self._lead((type_url, name), item.clusters)
                elif type_url in _LEADING:
                    self._unknown.add((type_url, name))
            if kind.everything:
                names = [name for (of, name) in self._resources if of == type_url]
                kind.due |= dict.fromkeys(sorted({*names, *kind.has}))
        kind.names.update(wanted)
        kind.due |= dict.fromkeys(name for name in wanted if name != "*")
        for name in unwanted:
            kind.names.discard(name)
            if not kind.everything:
                kind.has.pop(name, None)
                kind.due.pop(name, None)

    def _accept(self, type_url: str, kind: _Kind, sent: _Sent) -> None:
        for name, item in sent.carried.items():
            kind.has[name] = item.version
            self.refused.pop((type_url, name), None)
            self._settle((type_url, name), item.clusters)
            now = self._resources.get((type_url, name))
            if now is not None and now.version != item.version:
                kind.due[name] = None  # it was the first of two, or it has changed meanwhile
        for name in sent.withdrawn:
            kind.has.pop(name, None)
            self._settle((type_url, name), None)
        if type_url == CLUSTER:
            for leading in _LEADING:
                self._unstick(leading)

    def _unstick(self, type_url: str) -> None:
        kind = self._kinds[type_url]
        kind.due |= dict.fromkeys(sorted(kind.stuck))
        kind.stuck.clear()

    def _refuse(self, type_url: str, kind: _Kind, sent: _Sent, said: str) -> list[Refusal]:
        names = [*sent.carried, *sorted(sent.withdrawn)]
        if len(names) > 1:
            half = len(names) // 2
            kind.suspects[:0] = [names[:half], names[half:]]
            kind.due |= dict.fromkeys(names)
            return []
        refusals = []
        for name, item in sent.carried.items():
            refusal = self.refused[type_url, name] = Refusal(item, said)
            refusals.append(refusal)
        return refusals

    # ---- what is said to Envoy

    def messages(self) -> list[Any]:
        """Return what can be sent now; nothing until Envoy has answered, or something changes."""
        found = []
        for type_url in _ORDER:
            kind = self._kinds[type_url]
            if not kind.subscribed or kind.sent is not None:
                continue
            carried, withdrawn = self._choose(type_url, kind)
            if carried or withdrawn or not kind.answered:
                found.append(self._message(type_url, kind, carried, withdrawn))
        return found

    def _choose(self, type_url: str, kind: _Kind) -> tuple[dict[str, Resource], set[str]]:
        carried: dict[str, Resource] = {}
        withdrawn: set[str] = set()
        while kind.suspects and not carried and not withdrawn:
            self._pick(type_url, kind.suspects.pop(0), carried, withdrawn)
        if not carried and not withdrawn:
            self._pick(type_url, list(kind.due), carried, withdrawn)
        return carried, withdrawn

    def _pick(self, type_url: str, names: list[str], carried: dict[str, Resource], withdrawn: set[str]) -> None:
        kind = self._kinds[type_url]
        for name in names[:_MOST_AT_ONCE]:
            key = (type_url, name)
            item = self._resources.get(key)
            if item is None:
                if name not in kind.has:
                    kind.due.pop(name, None)
                elif type_url != CLUSTER or self._is_free(name):
                    withdrawn.add(name)
                else:
                    kind.due.pop(name, None)
                    kind.stuck.add(name)
                continue
            step = self._step(key, item, kind.has.get(name))
            missing = [cluster for cluster in item.clusters if not self._is_there(cluster)]
            if step is not None and not missing:
                carried[name] = step
            elif step is None or any((CLUSTER, cluster) in self.refused for cluster in missing):
                kind.due.pop(name, None)
                if step is not None:
                    kind.stuck.add(name)
        for name in (*carried, *withdrawn):
            kind.due.pop(name, None)

    def _step(self, key: Key, item: Resource, has: str | None) -> Resource | None:
        """Return what to send on the way to a resource, ``None`` when Envoy is there or will not go."""
        refused = self._refused_version(key)
        if item.version in {has, refused}:
            return None
        first = item.first
        return first if first is not None and first.version not in {has, refused} else item

    def _is_there(self, cluster: str) -> bool:
        """Tell whether a cluster can be led to: as it is now, or as it was when a newer version was refused."""
        kind = self._kinds[CLUSTER]
        if kind.sent is not None and cluster in kind.sent.withdrawn:
            return False
        has = kind.has.get(cluster)
        item = self._resources.get((CLUSTER, cluster))
        if has is None:
            return False
        return item is None or has in _versions(item) or self._refused_version(item.key) in _versions(item)

    def _refused_version(self, key: Key) -> str:
        refusal = self.refused.get(key)
        return refusal.resource.version if refusal is not None else ""

    def _is_free(self, cluster: str) -> bool:
        return not self._unknown and not self._used.get(cluster)

    def _message(self, type_url: str, kind: _Kind, carried: dict[str, Resource], withdrawn: set[str]) -> Any:
        self._count += 1
        kind.sent = _Sent(str(self._count), carried, withdrawn)
        kind.answered = True
        for name, item in carried.items():
            self._lead((type_url, name), item.clusters | self._leads.get((type_url, name), frozenset()))
        return discovery_pb2.DeltaDiscoveryResponse(
            type_url=type_url,
            nonce=kind.sent.nonce,
            resources=[
                discovery_pb2.Resource(
                    name=name, version=item.version, resource=any_pb2.Any(type_url=type_url, value=item.body)
                )
                for name, item in carried.items()
            ],
            removed_resources=sorted(withdrawn),
        )

    # ---- who leads to which cluster

    def _settle(self, key: Key, clusters: frozenset[str] | None) -> None:
        self._lead(key, clusters or frozenset())
        if key in self._unknown:
            self._unknown.discard(key)
            if not self._unknown:
                self._unstick(CLUSTER)

    def _lead(self, key: Key, clusters: frozenset[str]) -> None:
        if key[0] not in _LEADING:
            return
        before = self._leads.pop(key, frozenset())
        if clusters:
            self._leads[key] = clusters
        _count(self._used, clusters - before, 1)
        waiting = self._kinds[CLUSTER]
        for name in _count(self._used, before - clusters, -1):
            if name in waiting.stuck:
                waiting.stuck.discard(name)
                waiting.due[name] = None


def _count(used: dict[str, int], names: Iterable[str], by: int) -> list[str]:
    gone = []
    for name in names:
        used[name] = used.get(name, 0) + by
        if not used[name]:
            del used[name]
            gone.append(name)
    return gone


def _versions(item: Resource) -> tuple[str, ...]:
    return (item.version, item.first.version) if item.first is not None else (item.version,)
