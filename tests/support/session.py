"""An Envoy at the protocol's level: it receives the messages of a session and acknowledges or refuses resources."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from envoy.config.route.v3 import route_components_pb2, scoped_route_pb2
from envoy.service.discovery.v3 import discovery_pb2

from pilotage.xds.resources import CLUSTER, LISTENER, SCOPE, Key, Resource
from pilotage.xds.scope_parts import encode_host, join_hosts
from pilotage.xds.session import Session


def item(type_url: str, name: str, version: str, *clusters: str, first: Resource | None = None) -> Resource:
    return Resource(type_url, name, version, version.encode(), frozenset(clusters), (name,), first)


def cluster(name: str, version: str = "1", **more: Any) -> Resource:
    return item(CLUSTER, name, version, **more)


def scope(name: str, version: str, *clusters: str) -> Resource:
    return item(SCOPE, name, version, *clusters)


def hosts(label: str, *wanted: tuple[str, str, str]) -> Resource:
    """Return a scope of virtual hosts, each given by name, version and cluster (``""`` for none)."""
    made = []
    for name, version, cluster in sorted(wanted):
        body = route_components_pb2.VirtualHost(request_headers_to_remove=[version])
        if cluster:
            body.routes.add(route=route_components_pb2.RouteAction(cluster=cluster))
        clusters = frozenset({cluster} if cluster else ())
        made.append(encode_host(name, [name], body.SerializeToString(), clusters))
    return join_hosts(label, b"", made)


def served(body: bytes) -> dict[str, str]:
    """Return the virtual hosts of a serialized scope: name -> version; ``"503"`` for one that is not available."""
    found = {}
    for host in scoped_route_pb2.ScopedRouteConfiguration.FromString(body).route_configuration.virtual_hosts:
        unavailable = any(it.direct_response.status == 503 for it in host.routes)
        found[host.name] = "503" if unavailable else host.request_headers_to_remove[0]
    return found


def _clusters(body: bytes) -> frozenset[str]:
    message = scoped_route_pb2.ScopedRouteConfiguration.FromString(body)
    return frozenset(it.route.cluster for host in message.route_configuration.virtual_hosts for it in host.routes) - {
        ""
    }


def probed_cluster(name: str, version: str = "1") -> Resource:
    """Return a cluster with health checks; its version without them is sent first."""
    return cluster(name, version, first=cluster(name, f"{version} unprobed"))


class Envoy:
    """Applies responses, acknowledges them, and rejects those with a version in ``bad``.

    Like Envoy 1.40, it stores the scopes that precede a rejected one, and later ignores those that equal stored ones.
    While ``probing``, it withholds its answers about clusters, beginning with the first one with health checks.
    """

    def __init__(self, *resources: Resource, has: dict[Key, str] | None = None) -> None:
        self.should: dict[Key, Resource] = {}
        self.ever: dict[tuple[str, str, str], Resource] = {}
        self.has = dict(has or {})
        self.needs: dict[Key, frozenset[str]] = {}
        self.bad: set[tuple[str, str]] = set()
        self.hosts: dict[str, dict[str, str]] = {}
        self.stored: dict[str, bytes] = {}
        self.got: list[tuple[str, list[str], list[str]]] = []
        self.refused: list[tuple[str, str]] = []
        self.probing = False
        self.withheld: list[Any] = []
        self.session = Session(self.should)
        self.change(*resources)

    def connect(self) -> None:
        for type_url in (CLUSTER, LISTENER, SCOPE):
            versions = {name: version for (of, name), version in self.has.items() if of == type_url}
            request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, initial_resource_versions=versions)
            request.node.id = "me"
            self.session.handle_request(request)

    def change(self, *resources: Resource, gone: tuple[Key, ...] = ()) -> None:
        for it in resources:
            self.should[it.key] = it
            for version in (it, it.first):
                if version is not None:
                    self.ever[*it.key, version.version] = version
        for key in gone:
            self.should.pop(key, None)
        self.session.mark_changed([*(it.key for it in resources), *gone])

    def round(self) -> bool:
        """Process and answer the next responses; return whether there were any."""
        messages = self.session.next_responses()
        for message in messages:
            self._answer(message)
        return bool(messages)

    def run(self) -> None:
        for _ in range(200):
            if not self.round():
                return
        raise AssertionError("it never ends")

    def _answer(self, message: Any) -> None:
        kind = message.type_url
        names = sorted(it.name for it in message.resources)
        self.got.append((kind, names, sorted(message.removed_resources)))
        answer = discovery_pb2.DeltaDiscoveryRequest(type_url=kind, response_nonce=message.nonce)
        if any(self._rejects(kind, it) for it in message.resources):
            answer.error_detail.message = "bad"
            if kind == SCOPE:
                before = takewhile(lambda it: not self._rejects(kind, it), message.resources)
                self.stored |= {it.name: it.resource.value for it in before}
        else:
            for it in message.resources:
                self.has[kind, it.name] = it.version
                known = self.ever.get((kind, it.name, it.version))
                self.needs[kind, it.name] = known.clusters if known is not None else _clusters(it.resource.value)
                if kind == SCOPE and self.stored.get(it.name) != it.resource.value:
                    self.stored[it.name] = it.resource.value
                    self.hosts[it.name] = (
                        served(it.resource.value) if known is None or known.parts else {"": it.version}
                    )
            for name in message.removed_resources:
                self.has.pop((kind, name), None)  # it may have been refused
                self.needs.pop((kind, name), None)
                self.hosts.pop(name, None)
                self.stored.pop(name, None)
            self._check()
        probed = kind == CLUSTER and any(self.ever[kind, it.name, it.version].first for it in message.resources)
        if kind == CLUSTER and (self.withheld or (self.probing and probed)):
            self.withheld.append(answer)
        else:
            self._say(answer)

    def _rejects(self, kind: str, it: Any) -> bool:
        known = self.ever.get((kind, it.name, it.version))
        if kind == SCOPE and (known is None or known.parts):
            return not self.bad.isdisjoint(served(it.resource.value).items())
        return (it.name, it.version) in self.bad

    def _say(self, answer: Any) -> None:
        self.refused += [
            (it.host or it.resource.name, it.resource.version) for it in self.session.handle_request(answer)
        ]

    def has_probed(self) -> None:
        """Send the answers that were withheld."""
        self.probing = False
        for answer in self.withheld:
            self._say(answer)
        self.withheld.clear()

    def _check(self) -> None:
        for key, clusters in self.needs.items():
            assert all((CLUSTER, name) in self.has for name in clusters), f"{key} leads to what is not there"


def probing() -> Envoy:
    """An Envoy that probes for the cluster of ``slow``, and so says nothing about clusters."""
    envoy = Envoy(cluster("old"), scope("old", "1", "old"))
    envoy.connect()
    envoy.run()
    envoy.probing = True
    envoy.change(probed_cluster("slow"), scope("slow", "1", "slow"))
    envoy.run()
    assert envoy.got[-3:] == [(CLUSTER, ["slow"], []), (CLUSTER, ["slow"], []), (SCOPE, ["slow"], [])]
    assert len(envoy.withheld) == 1
    envoy.got.clear()
    return envoy
