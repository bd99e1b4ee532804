"""Chooses which virtual hosts of a scope (a route configuration) an Envoy gets. Pure.

A scope holds the virtual hosts of several backends. If Envoy rejects one of them, or a cluster that one of them needs,
the others must still be served. So Envoy gets a variant of the scope in which requests to the rejected backend get 503.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec
from envoy.config.route.v3 import route_components_pb2, route_pb2, scoped_route_pb2

from pilotage.xds.filters import FOUND
from pilotage.xds.local_replies import REJECTED, direct_response
from pilotage.xds.resources import SCOPE, Frame, Resource, ScopePart, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["ClusterState", "Host", "ScopeVariants", "encode_host", "join_hosts", "split_hosts", "unavailable"]

ClusterState = Literal["usable", "rejected", "waiting"]
"""Whether Envoy has the current version of a cluster, has rejected it, or has not answered yet."""

_SCOPE: Final = scoped_route_pb2.ScopedRouteConfiguration
_SCOPE_NAME, _SCOPE_KEY, _SCOPE_ROUTES = (Frame(_SCOPE, it) for it in ("name", "key", "route_configuration"))
_FRAGMENT: Final = Frame(_SCOPE.Key, "fragments")
_STRING_KEY: Final = Frame(_SCOPE.Key.Fragment, "string_key")
_ROUTES_NAME, _ROUTES_HOST = (Frame(route_pb2.RouteConfiguration, it) for it in ("name", "virtual_hosts"))
_HOST_NAME, _HOST_DOMAIN, _HOST_COUNTED = (
    Frame(route_components_pb2.VirtualHost, it) for it in ("name", "domains", "virtual_clusters")
)
# Envoy counts the requests of a virtual cluster. This one has all requests of its virtual host.
_COUNTED_NAME: Final = Frame(route_components_pb2.VirtualCluster, "name")
_COUNTED: Final = route_components_pb2.VirtualCluster(
    headers=[route_components_pb2.HeaderMatcher(name=":method", present_match=True)]
).SerializeToString(deterministic=True)


def unavailable(name: str, sentence: str) -> route_components_pb2.Route:
    """Return the route of a backend that cannot be served. It responds 503 with ``sentence``.

    The route has the backend's name, because Envoy assigns no virtual cluster to a direct response.
    """
    match = route_components_pb2.RouteMatch(prefix="/")
    return route_components_pb2.Route(name=name, match=match, direct_response=direct_response(sentence))


class Host(msgspec.Struct, frozen=True, gc=False):
    """A virtual host of a scope, serialized.

    Attributes:
        name: the backend's name.
        domains: the domains that the virtual host serves.
        body: the encoded field ``virtual_hosts``.
        clusters: the clusters that the virtual host references.
        served: whether requests reach the backend; ``False`` if they get 503.
        measured: whether Envoy counts requests to the backend.
        leads_to: the cluster to which requests are sent, if they may wait for this cluster; otherwise ``""``.

    """

    name: str
    domains: tuple[str, ...]
    body: bytes
    clusters: frozenset[str] = frozenset()
    served: bool = True
    measured: bool = True
    leads_to: str = ""


def encode_host(
    name: str,
    domains: Iterable[str],
    body: bytes,
    clusters: frozenset[str],
    *,
    measured: bool = True,
    leads_to: str = "",
) -> Host:
    """Complete a serialized virtual host with its name and domains."""
    hosts = tuple(domains)
    encoded = _ROUTES_HOST(body + _named(name, hosts, measured=measured))
    return Host(name, hosts, encoded, clusters, measured=measured, leads_to=leads_to)


def _named(name: str, domains: Iterable[str], *, measured: bool) -> bytes:
    encoded = name.encode()
    counted = _HOST_COUNTED(_COUNTED + _COUNTED_NAME(encoded)) if measured else b""
    return _HOST_NAME(encoded) + b"".join(_HOST_DOMAIN(it.encode()) for it in domains) + counted


def _unavailable(host: Host) -> Host:
    route = unavailable(host.name if host.measured else FOUND, REJECTED)
    body = route_components_pb2.VirtualHost(routes=[route]).SerializeToString()
    named = _named(host.name, host.domains, measured=host.measured)
    return Host(host.name, host.domains, _ROUTES_HOST(body + named), served=False, measured=host.measured)


def join_hosts(label: str, head: bytes, hosts: Sequence[Host]) -> Resource:
    """Return the scope of a first label.

    Args:
        label: see :func:`~pilotage.xds.scoped_routes.scope_label`.
        head: the serialized route configuration without its name and virtual hosts.
        hosts: the virtual hosts of the scope, one or more.

    """
    name = label.encode()
    routes = head + _ROUTES_NAME(name) + b"".join(host.body for host in hosts)
    body = _SCOPE_NAME(name) + _SCOPE_KEY(_FRAGMENT(_STRING_KEY(name))) + _SCOPE_ROUTES(routes)
    parts, end = [], len(body)
    for host in reversed(hosts):
        start = end - len(host.body)
        parts.append(
            ScopePart(host.name, host.domains, start, end, host.clusters, host.served, host.measured, host.leads_to)
        )
        end -= len(host.body)
    parts.reverse()
    clusters = hosts[0].clusters if len(hosts) == 1 else frozenset(it for host in hosts for it in host.clusters)
    answers = tuple(host.name for host in hosts)
    version = version_of(body, (host.leads_to for host in hosts if host.leads_to))
    return Resource(SCOPE, label, version, body, clusters, answers, parts=tuple(parts))


def split_hosts(scope: Resource) -> list[Host]:
    """Return the virtual hosts of a scope that :func:`join_hosts` made."""
    return [
        Host(
            part.name,
            part.domains,
            scope.body[part.start : part.end],
            part.clusters,
            part.served,
            part.measured,
            part.leads_to,
        )
        for part in scope.parts
    ]


def _head(*scopes: Resource) -> bytes:
    """Return the ``head`` for virtual hosts from several scopes: the one that turns off the fewest filters.

    A scope turns off a filter that none of its virtual hosts needs. Virtual hosts from another scope may need it.
    """
    heads = [_SCOPE.FromString(scope.body).route_configuration for scope in scopes]
    message = min(heads, key=lambda head: len(head.typed_per_filter_config))
    message.ClearField("name")
    message.ClearField("virtual_hosts")
    head: bytes = message.SerializeToString(deterministic=True)
    return head


class Choice(msgspec.Struct, frozen=True):
    """The scope to send, or a variant of it.

    Attributes:
        scope: the scope or its variant; ``None`` if nothing can be sent yet.
        waits: true while a virtual host waits, either for a cluster or for the result of a bisection.

    """

    scope: Resource | None
    waits: bool


class ScopeVariants:
    """The variants of scopes that one Envoy has.

    Attributes:
        rejected: name of a scope -> virtual host that Envoy rejected -> Envoy's error message.

    """

    def __init__(self) -> None:
        self.rejected: dict[str, dict[Host, str]] = {}
        self._had: dict[str, Resource] = {}  # what Envoy has acknowledged
        self._suspects: dict[str, set[Host]] = {}  # held back while the others are tried
        self._retried: dict[str, set[Host]] = {}  # rejected before, and sent once more

    def choose(self, scope: Resource, states: Mapping[str, ClusterState], *, is_new: bool) -> Choice:
        """Choose the virtual hosts of a scope that Envoy can have now.

        A virtual host answers 503 if Envoy has rejected it or one of its clusters. While a virtual host waits for a
        cluster, Envoy keeps the virtual host's previous version.

        Args:
            scope: the wanted scope.
            states: the state of each cluster that the scope references.
            is_new: whether Envoy has no version of this scope.

        """
        name = scope.name
        rejected, suspects = self.rejected.get(name), self._suspects.get(name)
        if not rejected and not suspects and all(it == "usable" for it in states.values()):
            return Choice(scope, waits=False)
        known = self._had.get(name)
        had = {host.name: host for host in split_hosts(known)} if known is not None else {}
        chosen: list[Host] = []
        waiting: list[Host] = []
        for host in split_hosts(scope):
            found = {states[cluster] for cluster in host.clusters}
            if "rejected" in found or (rejected and host in rejected and host not in self._retried.get(name, ())):
                chosen.append(_unavailable(host))
            elif "waiting" in found or (suspects and host in suspects):
                waiting.append(host)
            else:
                chosen.append(host)
        taken = {domain for host in chosen for domain in host.domains}
        sources = [scope]
        for host in waiting:
            previous = had.get(host.name)
            if previous is None and known is None and not is_new:
                return Choice(None, waits=True)  # from before this session: keep what it has
            if previous is not None and taken.isdisjoint(previous.domains):
                chosen.append(previous)
                taken.update(previous.domains)
                sources = [scope] if known is None else [scope, known]
        if not chosen:
            return Choice(None, waits=bool(waiting))
        chosen.sort(key=lambda host: host.name)
        return Choice(join_hosts(name, _head(*sources), chosen), waits=bool(waiting))

    def has(self, scope: Resource, name: str) -> bool:
        """Return whether Envoy has acknowledged the wanted version of a virtual host: the version in ``scope``."""
        known = self._had.get(scope.name)
        if known is None:
            return False
        had, wanted = ([it for it in split_hosts(of) if it.name == name] for of in (known, scope))
        return bool(wanted) and had == wanted

    def on_ack(self, sent: Resource) -> None:
        """Record that Envoy has accepted ``sent``. The virtual hosts held back by a bisection are then tried."""
        name = sent.name
        self._had[name] = sent
        self._suspects.pop(name, None)
        retried = self._retried.pop(name, set())
        rejected = self.rejected.get(name)
        if rejected and retried:
            for host in split_hosts(sent):
                rejected.pop(host, None)
        if not rejected:
            self.rejected.pop(name, None)

    def on_nack(self, sent: Resource, error: str) -> Host | None:
        """Record that Envoy has rejected ``sent``, and continue the bisection that finds the virtual host to blame.

        Returns:
            The rejected virtual host; ``None`` if more than one may be to blame. Half of these are then held back.

        Raises:
            LookupError: none of the scope's virtual hosts is to blame.

        """
        name = sent.name
        had = self._had.get(name)
        accepted = set(split_hosts(had)) if had is not None else set()
        new = [host for host in split_hosts(sent) if host.served and host not in accepted]
        if not new:
            raise LookupError(name)
        retried = self._retried.get(name, set())
        if len(new) == 1:
            self.rejected.setdefault(name, {})[new[0]] = error
            retried.discard(new[0])
            self._suspects.pop(name, None)
            return new[0]
        self._suspects.setdefault(name, set()).update(new[len(new) // 2 :])
        return None

    def prune(self, name: str, scope: Resource | None) -> None:
        """Forget rejected virtual hosts of a scope that its wanted version (``None``: removed) does not contain."""
        current = set(split_hosts(scope)) if scope is not None and name in self.rejected else set()
        for known in (self.rejected, self._suspects, self._retried):
            for host in [it for it in known.get(name, ()) if it not in current]:
                _discard(known[name], host)
            if not known.get(name, True):
                del known[name]

    def removed(self, name: str) -> None:
        """Record that Envoy no longer has a scope."""
        self._had.pop(name, None)

    def retry(self, name: str) -> None:
        """Let the rejected virtual hosts of a scope be sent again."""
        if name in self.rejected:
            self._retried[name] = set(self.rejected[name])


def _discard(known: dict[Host, str] | set[Host], host: Host) -> None:
    if isinstance(known, dict):
        del known[host]
    else:
        known.discard(host)
