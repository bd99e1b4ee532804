"""All resources of a table, kept true while single routes change: the cost of a change does not grow. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.routes.exclusion import ExclusionReason
from pilotage.table.table import Table
from pilotage.xds.backend import pool_backend, route_backend
from pilotage.xds.capabilities import check_capabilities
from pilotage.xds.clusters import own_clusters, shared_clusters
from pilotage.xds.listeners import http_listeners, listening_address, stream_listener
from pilotage.xds.middlewares import route_policy
from pilotage.xds.resources import LISTENER, SCOPE, SECRET, Key, Resource
from pilotage.xds.scoped_routes import scope, scope_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.routes.route import Route
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions

__all__ = ["Resources", "Snapshot", "build_resources"]

Resources = dict[str, dict[str, Resource]]
"""Type URL -> name -> resource."""

_ROUTE: Final = "route"
_POOL: Final = "pool"


def build_resources(table: Table, options: GatewayOptions) -> Resources:
    """Make all resources of a table at once."""
    snapshot = Snapshot(options)
    snapshot.replace(table)
    found: Resources = {}
    for (type_url, name), item in sorted(snapshot.resources.items()):
        found.setdefault(type_url, {})[name] = item
    return found


class Snapshot:
    """What every Envoy should have.

    Attributes:
        resources: type and name -> resource.
        problems: whose (``route/ALIAS``, ``pool/LINK``, ``scope/LABEL``, ``listener/ADDRESS``; ``auth/…`` for who is to
            approve requests, ``made/…`` for what failed unforeseen) -> what the gateway cannot do for them.
        lingering: routes that are gone, whose requests wait for a successor: alias -> the route as it last was.

    """

    def __init__(self, options: GatewayOptions) -> None:
        self.options = options
        self.resources: dict[Key, Resource] = {}
        self.problems: dict[str, tuple[Problem, ...]] = {}
        self.lingering: dict[str, Route] = {}
        self._table = Table()
        self._routes: dict[str, Route] = {}
        self._backends: dict[str, Backend] = {}
        self._pools: dict[str, set[str]] = {}
        self._askers: dict[str, set[str]] = {}
        self._scopes: dict[str, set[str]] = {}
        self._listeners: dict[str, set[str]] = {}
        self._clusters: dict[str, set[Key]] = {}
        self._set(_keyed([*shared_clusters(options), *http_listeners(options)]))

    def replace(self, table: Table) -> frozenset[Key]:
        """Take over a whole table; return what changed."""
        return self.change(table, {*self._table.routes, *table.routes})

    def change(self, table: Table, aliases: Iterable[str]) -> frozenset[Key]:
        """Take over a table of which only some aliases may differ from the last one.

        Args:
            table: the table now.
            aliases: all that may differ.

        Returns:
            Type and name of every resource that is new, different or gone.

        """
        self._table = table
        touched: set[str] = set()
        for alias in aliases:
            touched |= self._take(alias, table.routes.get(alias))
        return self._rebuild(touched)

    def remove(self, alias: str, route: Route) -> frozenset[Key]:
        """Let a route go that no successor came for; a later one of that alias stays. Return what changed."""
        if self.lingering.get(alias) is not route:
            return frozenset()
        del self.lingering[alias]
        return self._rebuild(self._note(alias, None))

    def configure(self, options: GatewayOptions) -> frozenset[Key]:
        """Take over other settings; return what changed."""
        if options == self.options:
            return frozenset()
        fresh = Snapshot(options)
        fresh.replace(self._table)
        secrets = {key: item for key, item in self.resources.items() if key[0] == SECRET}
        fresh.resources |= secrets
        kept = self.resources  # conversations look into it
        wanted: dict[Key, Resource | None] = dict.fromkeys(kept.keys() - fresh.resources.keys())
        wanted |= fresh.resources
        lingering = self.lingering  # their requests wait on
        self.__dict__ |= fresh.__dict__ | {"resources": kept, "lingering": lingering}
        changed = self._set(wanted)
        for alias, route in lingering.items():
            changed |= self._rebuild(self._note(alias, route))
        return changed

    def set_secrets(self, secrets: Iterable[Resource]) -> frozenset[Key]:
        """Take over certificates, which replace all former ones; return what changed."""
        wanted: dict[Key, Resource | None] = {key: None for key in self.resources if key[0] == SECRET}
        return self._set(wanted | _keyed(secrets))

    def backend(self, cluster: str) -> Backend | None:
        """Return the backend whose own cluster has a name: ``route/ALIAS`` or ``pool/LINK``."""
        return self._backends.get(cluster)

    # ---- from routes to backends

    def _take(self, alias: str, route: Route | None) -> set[str]:
        """Note an alias's route; return the backends that it may concern."""
        problems: tuple[Problem, ...] = ()
        gone = route is None or route.excluded_reason == ExclusionReason.NOT_RUNNING
        if route is not None:
            if route.excluded:
                route = None
            else:
                problems, servable = self._check(route)
                route = _as_served(route) if servable else None
        self._report(f"{_ROUTE}/{alias}", problems)
        before = self._routes.get(alias)
        if route is None and gone and before is not None and before.settings.hold:
            if alias not in self.lingering:
                self.lingering[alias] = route = msgspec.structs.replace(before, endpoints=())
            else:
                route = before
        else:
            self.lingering.pop(alias, None)
        return self._note(alias, route)

    def _check(self, route: Route) -> tuple[tuple[Problem, ...], bool]:
        try:
            return check_capabilities(route, self.options)
        except Exception as error:  # noqa: BLE001  one route must not keep the others from being published
            return (_broken(route, error),), False

    def _note(self, alias: str, route: Route | None) -> set[str]:
        old = self._routes.get(alias)
        touched = {f"{_ROUTE}/{alias}"}
        for known, index in ((old, set.discard), (route, set.add)):
            if known is None:
                continue
            if link := known.settings.load_balance.link:
                index(self._pools.setdefault(link, set()), alias)
                touched.add(f"{_POOL}/{link}")
            asked = route_policy(known.settings.middlewares).auth
            if asked is not None:
                index(self._askers.setdefault(asked.route, set()), alias)
                touched.add(f"{_ROUTE}/{asked.route}")
        if (old is None) != (route is None):  # whom others ask has come or gone
            touched |= {key for asker in self._askers.get(alias, ()) for key in self._keys(asker)}
        if route is None:
            self._routes.pop(alias, None)
        else:
            self._routes[alias] = route
        return touched

    def _keys(self, alias: str) -> list[str]:
        """Return the backends that a route is part of."""
        route = self._routes.get(alias)
        link = route.settings.load_balance.link if route is not None else ""
        return [f"{_POOL}/{link}"] if link else [f"{_ROUTE}/{alias}"]

    def _backend(self, key: str) -> Backend | None:
        kind, _, name = key.partition("/")
        if kind == _ROUTE:
            self._drop_empty(self._askers, name)
            route = self._routes.get(name)
            if route is None or route.settings.load_balance.link:
                self._report(f"auth/{key}", ())
                return None
            return self._approved(key, route_backend(route, asked=name in self._askers))
        self._drop_empty(self._pools, name)
        members = [self._routes[alias] for alias in self._pools.get(name, ())]
        if not members:
            self._report(key, ())
            self._report(f"auth/{key}", ())
            return None
        backend, problems = pool_backend(name, members)
        self._report(key, problems)
        return self._approved(key, backend)

    def _approved(self, key: str, backend: Backend) -> Backend:
        """Report it if whoever is to approve a backend's requests is not there: they are all refused then."""
        auth = backend.route_policy.auth
        found = self._routes.get(auth.route) if auth is not None else None
        absent = auth is not None and (found is None or found.is_stream or bool(found.settings.load_balance.link))
        self._report(f"auth/{key}", [_unapproved(backend.route, auth.route)] if auth is not None and absent else ())
        return backend

    def _rebuild(self, touched: Iterable[str]) -> frozenset[Key]:
        wanted: dict[Key, Resource | None] = {}
        labels: set[str] = set()
        addresses: set[str] = set()
        for key in touched:
            old = self._backends.get(key)
            new, clusters = self._made(key)
            if old == new:
                continue
            for backend, index in ((old, set.discard), (new, set.add)):
                if backend is None:
                    continue
                if backend.route.is_stream:
                    address = listening_address(backend.route)
                    index(self._listeners.setdefault(address, set()), key)
                    addresses.add(address)
                elif label := scope_label(backend.name):
                    index(self._scopes.setdefault(label, set()), key)
                    labels.add(label)
            wanted |= dict.fromkeys(self._clusters.pop(key, set()) - clusters.keys())
            wanted |= clusters
            if clusters:
                self._clusters[key] = set(clusters)
            if new is None:
                del self._backends[key]
            else:
                self._backends[key] = new
        for label in labels:
            wanted |= self._scope_changes(label)
        for address in addresses:
            wanted |= self._listener_changes(address)
        return self._set(wanted)

    # ---- from backends to resources

    def _made(self, key: str) -> tuple[Backend | None, dict[Key, Resource | None]]:
        """Return the backend of a route or pool, and its clusters; no backend where they cannot be made."""
        try:
            backend = self._backend(key)
            clusters = _keyed(own_clusters(backend, self.options)) if backend is not None else {}
        except Exception as error:  # noqa: BLE001  as above
            kind, _, name = key.partition("/")
            aliases = [name] if kind == _ROUTE else self._pools.get(name, ())
            self._report(f"made/{key}", [_broken(self._routes[alias], error) for alias in sorted(aliases)])
            return None, {}
        self._report(f"made/{key}", ())
        return backend, clusters

    def _scope_changes(self, label: str) -> dict[Key, Resource | None]:
        self._drop_empty(self._scopes, label)
        chosen: dict[str, Backend] = {}
        shadowed = []
        for key in sorted(self._scopes.get(label, ())):  # routes after pools, so that they win
            backend = self._backends[key]
            if backend.name in chosen:
                shadowed.append(_shadowed(chosen[backend.name], backend))
            chosen[backend.name] = backend
        self._report(f"scope/{label}", shadowed)
        made = self._scope(label, list(chosen.values()))
        return _keyed([made]) if made is not None else {(SCOPE, label): None}

    def _scope(self, label: str, backends: list[Backend]) -> Resource | None:
        """Make a scope of all backends of which one can be made."""
        self._report(f"made/{label}", ())
        try:
            return scope(label, backends, self.options) if backends else None
        except Exception as error:  # noqa: BLE001  as above
            if len(backends) == 1:
                self._report(f"made/{label}", [_broken(backends[0].route, error)])
                return None
        sound: list[Backend] = []
        problems: list[Problem] = []
        for backend in backends:
            if self._scope(label, [backend]) is not None:
                sound.append(backend)
            problems += self.problems.get(f"made/{label}", ())
        made = self._scope(label, sound) if len(sound) < len(backends) else None
        self._report(f"made/{label}", problems)
        return made

    def _listener_changes(self, address: str) -> dict[Key, Resource | None]:
        """Give an address to the oldest route that wants it; while that has no endpoint, nothing listens."""
        self._drop_empty(self._listeners, address)
        backends = [self._backends[key] for key in self._listeners.get(address, ())]
        backends.sort(key=lambda backend: (backend.route.created, backend.name))
        self._report(f"made/{address}", ())
        self._report(f"listener/{address}", [_taken(backend, backends[0], address) for backend in backends[1:]])
        if not backends or backends[0].backing == "none":
            return {(LISTENER, address): None}
        try:
            return _keyed([stream_listener(backends[0])])
        except Exception as error:  # noqa: BLE001  as above
            self._report(f"made/{address}", [_broken(backends[0].route, error)])
            return {(LISTENER, address): None}

    def _set(self, wanted: Mapping[Key, Resource | None]) -> frozenset[Key]:
        changed = set()
        for key, item in wanted.items():
            if _version(self.resources.get(key)) == _version(item):
                continue
            changed.add(key)
            if item is None:
                del self.resources[key]
            else:
                self.resources[key] = item
        return frozenset(changed)

    def _report(self, owner: str, problems: Iterable[Problem]) -> None:
        found = tuple(problems)
        if found:
            self.problems[owner] = found
        else:
            self.problems.pop(owner, None)

    @staticmethod
    def _drop_empty(index: dict[str, set[str]], name: str) -> None:
        if not index.get(name, True):
            del index[name]


def _as_served(route: Route) -> Route:
    """Return a route without what it asks for in vain: only requests over HTTP can wait."""
    if not (route.is_stream and route.settings.hold):
        return route
    return msgspec.structs.replace(route, settings=msgspec.structs.replace(route.settings, hold=0.0))


def _keyed(resources: Iterable[Resource]) -> dict[Key, Resource | None]:
    return {item.key: item for item in resources}


def _version(item: Resource | None) -> str | None:
    return item.version if item is not None else None


def _broken(route: Route, error: Exception) -> Problem:
    return Problem(
        message=f"it is not served, for it cannot be put into Envoy's terms: {type(error).__name__}: {error}",
        hint="look for an odd value in its labels, and report it: it should have been refused with a better sentence",
        provider=route.provider,
        container=route.container,
        route=route.alias,
    )


def _unapproved(route: Route, asked: str) -> Problem:
    return Problem(
        message=f"each request is to be approved by the route {asked!r}, which is not served; so all are refused",
        hint=f"start a container with the alias {asked!r}, or name another route",
        provider=route.provider,
        container=route.container,
        route=route.alias,
        path="middlewares.forwardauth",
    )


def _shadowed(pool: Backend, by: Backend) -> Problem:
    return Problem(
        message=f"the pool {pool.name!r} cannot be reached: {by.route.container or by.name} has an alias of that name",
        hint="give the pool or the alias another name",
        provider=pool.route.provider,
        container=pool.route.container,
        route=pool.route.alias,
        path="load_balance.link",
    )


def _taken(backend: Backend, by: Backend, address: str) -> Problem:
    protocol, _, where = address.partition("/")
    return Problem(
        message=f"{protocol} port {where} belongs to {by.name}, which is older",
        hint=f"choose another listening port for {backend.name}",
        provider=backend.route.provider,
        container=backend.route.container,
        route=backend.name,
        path="port",
    )
