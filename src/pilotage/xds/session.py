"""One Envoy's conversation: what it has, what it still lacks, and in which order it gets that. Pure.

Clusters go before the scopes and listeners that lead to them, and are withdrawn after them. Each kind has one message
on its way at a time; what changes meanwhile gathers. What Envoy refuses is looked for by halves until one resource is
left; that version of it is not offered again, and what Envoy accepted last stays in force.

Envoy answers nothing about clusters until it has probed every endpoint of those with health checks, which takes as long
as one of them takes to answer. Yet it does at once what it is told meanwhile. So clusters with health checks go alone
and last, and while an answer about them is due, others follow without waiting for theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from pilotage.xds.resources import CLUSTER, LISTENER, SCOPE, SECRET, Key, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["SCOPED", "Nack", "Session"]

_ORDER: Final = (CLUSTER, SECRET, LISTENER, SCOPE)
_LEADING: Final = (LISTENER, SCOPE)
SCOPED: Final = ((LISTENER, "http"), (LISTENER, "https"))
"""The listeners that all HTTP routes share; who has one asks for scopes."""
_MOST_AT_ONCE: Final = 2000
"""Resources in one message: keeps each well below gRPC's 4 MB."""
_MOST_AHEAD: Final = 100
"""Messages without an answer, while Envoy probes."""


class Nack(msgspec.Struct, frozen=True):
    """A resource that Envoy did not accept, and what it said."""

    resource: Resource
    error: str


class _Sent(msgspec.Struct):
    """A message on its way: what it carries, what it takes back, and which clusters its names led to before."""

    nonce: str
    carried: dict[str, Resource]
    withdrawn: set[str]
    led: dict[str, frozenset[str]]

    @property
    def probes(self) -> bool:
        """It carries clusters with health checks, and so may be answered late."""
        return any(item.first is not None for item in self.carried.values())


class _Kind:
    """What is known of one type of resource."""

    def __init__(self) -> None:
        self.subscribed = False
        self.everything = False
        self.names: set[str] = set()
        self.answered = False
        self.has: dict[str, str] = {}  # name -> version
        self.due: dict[str, None] = {}  # names whose state may differ, oldest first
        self.sent: list[_Sent] = []  # oldest first
        self.suspects: list[list[str]] = []  # batches to be offered apart, since one of them was refused
        self.stuck: set[str] = set()  # what leads to a refused cluster; clusters that are led to though they are gone

    @property
    def late(self) -> bool:
        """An answer is due that may come late, and the others behind it with it."""
        return bool(self.sent) and self.sent[0].probes

    @property
    def ready(self) -> bool:
        """A message may be sent."""
        return not self.sent or (self.late and len(self.sent) < _MOST_AHEAD)

    def version(self, name: str) -> str | None:
        """Return the version of a resource that Envoy has, or is on its way to it; ``None`` for none."""
        for sent in reversed(self.sent):
            if name in sent.carried:
                return sent.carried[name].version
            if name in sent.withdrawn:
                return None
        return self.has.get(name)


class Session:
    """What is to be said to one Envoy. Feed it requests and changes, send what :meth:`next_responses` returns.

    Attributes:
        node: what Envoy calls itself; ``""`` until it has said so.
        nacks: the versions that it did not accept, and what it said of them.

    Args:
        resources: what it should have, kept up to date by others.

    """

    def __init__(self, resources: Mapping[Key, Resource]) -> None:
        self.node = ""
        self.nacks: dict[Key, Nack] = {}
        self._resources = resources
        self._kinds = {type_url: _Kind() for type_url in _ORDER}
        self._leads: dict[Key, frozenset[str]] = {}  # what Envoy has, or may have -> the clusters it leads to
        self._used: dict[str, int] = {}  # cluster -> how many of these
        self._unknown: set[Key] = set()  # had before this conversation, in a version that we do not know
        self._inherited: set[str] = set()  # clusters it had before this conversation, to which these may lead
        self._count = 0

    @property
    def in_sync(self) -> bool:
        """Everything that Envoy asked for has been sent, and acknowledged or refused."""
        if not all(self._kinds[type_url].subscribed for type_url in self._expected()):
            return False
        return all(kind.answered and not kind.sent and not kind.due for kind in self._kinds.values() if kind.subscribed)

    def _expected(self) -> tuple[str, ...]:
        """Return what Envoy is sure to ask for: scopes, once it has a listener that needs them."""
        needing = [key for key in SCOPED if key in self._resources]
        scoped = any(not self.is_missing(key) for key in needing)
        return (CLUSTER, LISTENER, SCOPE) if scoped else (CLUSTER, LISTENER)

    def is_pending(self, key: Key) -> bool:
        """Tell whether a resource is still to be sent, or to be acknowledged."""
        kind = self._kinds[key[0]]
        if not kind.subscribed:
            return key[0] in self._expected()
        return key[1] in kind.due or any(key[1] in sent.carried or key[1] in sent.withdrawn for sent in kind.sent)

    def is_missing(self, key: Key) -> bool:
        """Tell whether Envoy has refused a resource that should be there, and has no earlier version of it."""
        return key in self.nacks and key in self._resources and self._kinds[key[0]].version(key[1]) is None

    def has_current(self, key: Key) -> bool:
        """Tell whether Envoy has acknowledged a resource as it is now (a cluster also without its checks).

        While it probes, and so acknowledges none, it is enough that the resource has been sent.
        """
        item, kind = self._resources.get(key), self._kinds[key[0]]
        version = kind.version(key[1]) if kind.late else kind.has.get(key[1])
        return item is not None and version is not None and version in _versions(item)

    def mark_changed(self, keys: Iterable[Key]) -> None:
        """Note that resources are new, different or gone."""
        for type_url, name in keys:
            kind = self._kinds[type_url]
            if kind.subscribed and (kind.everything or name in kind.names):
                kind.due[name] = None
                kind.stuck.discard(name)

    # ---- what Envoy says

    def handle_request(self, request: Any) -> list[Nack]:
        """Take in a request; return what it refuses."""
        kind = self._kinds.get(request.type_url)
        if request.node.id:
            self.node = request.node.id
        if kind is None:
            return []
        nacks: list[Nack] = []
        answered = [sent for sent in kind.sent if sent.nonce == request.response_nonce]
        for sent in answered:
            kind.sent.remove(sent)
            if request.HasField("error_detail"):
                nacks = self._refuse(request.type_url, kind, sent, request.error_detail.message)
            else:
                self._accept(request.type_url, kind, sent)
        self._subscribe(request, kind)
        return nacks

    def _subscribe(self, request: Any, kind: _Kind) -> None:
        type_url = request.type_url
        wanted, unwanted = request.resource_names_subscribe, request.resource_names_unsubscribe
        if not kind.subscribed:
            kind.subscribed = True
            kind.everything = not wanted or "*" in wanted
            for name, version in request.initial_resource_versions.items():
                kind.has[name] = version
                if type_url == CLUSTER:
                    self._inherited.add(name)
                item = self._resources.get((type_url, name))
                if item is not None and version in _versions(item):
                    self._lead((type_url, name), item.clusters)
                elif type_url in _LEADING:
                    self._unknown.add((type_url, name))
            if kind.everything:
                names = [name for (of, name) in self._resources if of == type_url]
                kind.due |= dict.fromkeys(sorted({*names, *kind.has}))
            if type_url in _LEADING:
                self._unstick(CLUSTER)
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
            self.nacks.pop((type_url, name), None)
            self._settle((type_url, name), item.clusters)
            now = self._resources.get((type_url, name))
            if now is not None and now.version != kind.version(name):
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

    def _refuse(self, type_url: str, kind: _Kind, sent: _Sent, said: str) -> list[Nack]:
        for name, clusters in sent.led.items():
            self._lead((type_url, name), clusters)
        names = [*sent.carried, *sorted(sent.withdrawn)]
        if len(names) > 1:
            half = len(names) // 2
            kind.suspects[:0] = [names[:half], names[half:]]
            kind.due |= dict.fromkeys(names)
            return []
        nacks = []
        for name, item in sent.carried.items():
            nack = self.nacks[type_url, name] = Nack(item, said)
            nacks.append(nack)
        return nacks

    # ---- what is said to Envoy

    def next_responses(self) -> list[Any]:
        """Return what can be sent now; nothing until Envoy has answered, or something changes."""
        found = []
        for type_url in _ORDER:
            kind = self._kinds[type_url]
            while kind.subscribed and kind.ready:
                carried, withdrawn = self._choose(type_url, kind)
                if not carried and not withdrawn and kind.answered:
                    break
                found.append(self._message(type_url, kind, carried, withdrawn))
        return found

    def _choose(self, type_url: str, kind: _Kind) -> tuple[dict[str, Resource], set[str]]:
        carried: dict[str, Resource] = {}
        withdrawn: set[str] = set()
        while kind.suspects and not carried and not withdrawn:
            self._pick(type_url, kind.suspects.pop(0), carried, withdrawn)
        names = list(kind.due)
        # On to the next ones where there was nothing to say: Envoy has them already, or they wait for their clusters.
        for start in range(0, len(names), _MOST_AT_ONCE):
            if carried or withdrawn:
                break
            self._pick(type_url, names[start : start + _MOST_AT_ONCE], carried, withdrawn)
        return carried, withdrawn

    def _pick(self, type_url: str, names: list[str], carried: dict[str, Resource], withdrawn: set[str]) -> None:
        kind = self._kinds[type_url]
        for name in names:
            key = (type_url, name)
            item = self._resources.get(key)
            if item is None:
                if kind.version(name) is None:
                    kind.due.pop(name, None)
                elif type_url != CLUSTER or self._is_free(name):
                    withdrawn.add(name)
                else:
                    kind.due.pop(name, None)
                    kind.stuck.add(name)
                continue
            step = self._step(key, item, kind.version(name))
            is_new = kind.has.get(name) is None
            missing = [cluster for cluster in item.clusters if not self._is_there(cluster, soon=is_new)]
            if step is not None and not missing:
                carried[name] = step
            elif step is None or any((CLUSTER, cluster) in self.nacks for cluster in missing):
                kind.due.pop(name, None)
                if step is not None:
                    kind.stuck.add(name)
        if any(step.first is None for step in carried.values()) or withdrawn:
            for name in [name for name, step in carried.items() if step.first is not None]:
                del carried[name]  # it stays due
        for name in (*carried, *withdrawn):
            kind.due.pop(name, None)

    def _step(self, key: Key, item: Resource, has: str | None) -> Resource | None:
        """Return what to send on the way to a resource, ``None`` when Envoy is there or will not go."""
        refused = self._refused_version(key)
        if item.version in {has, refused}:
            return None
        first = item.first
        return first if first is not None and first.version not in {has, refused} else item

    def _is_there(self, cluster: str, *, soon: bool) -> bool:
        """Tell whether a cluster can be led to: as it is now, or as it was when a newer version was refused.

        Args:
            cluster: its name.
            soon: be content with one that Envoy has been sent, while its answer has to wait for probes of others. That
                is for what Envoy does not have yet: should it refuse the cluster, nothing is lost.

        """
        kind = self._kinds[CLUSTER]
        has = kind.version(cluster) if soon and kind.late else kind.has.get(cluster)
        if kind.version(cluster) is None:
            return False
        item = self._resources.get((CLUSTER, cluster))
        if has is None:
            return False
        return item is None or has in _versions(item) or self._refused_version(item.key) in _versions(item)

    def _refused_version(self, key: Key) -> str:
        nack = self.nacks.get(key)
        return nack.resource.version if nack is not None else ""

    def _is_free(self, cluster: str) -> bool:
        if self._used.get(cluster):
            return False
        told = all(self._kinds[type_url].subscribed for type_url in self._expected())
        return cluster not in self._inherited or (told and not self._unknown)

    def _message(self, type_url: str, kind: _Kind, carried: dict[str, Resource], withdrawn: set[str]) -> Any:
        self._count += 1
        led = {name: self._leads.get((type_url, name), frozenset()) for name in carried}
        kind.sent.append(_Sent(str(self._count), carried, withdrawn, led))
        kind.answered = True
        for name, item in carried.items():
            self._lead((type_url, name), item.clusters | led[name])
        return discovery_pb2.DeltaDiscoveryResponse(
            type_url=type_url,
            nonce=str(self._count),
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
