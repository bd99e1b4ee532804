"""Builds the Envoy resources of a table, incrementally. Pure.

The cost of a change does not depend on the size of the table.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from pilotage.core.index import Index
from pilotage.routes.exclusion import ExclusionReason
from pilotage.table.precedence import Ranking, is_draining
from pilotage.table.table import Table
from pilotage.xds.agent_routes import AgentRoutes
from pilotage.xds.agents import agent_changes, agent_clusters
from pilotage.xds.auth_routes import approval, auth_checked
from pilotage.xds.backend import RESTART_HOLD, may_restart, pool_backend, route_backend
from pilotage.xds.client_profiles import CLIENT_CAS
from pilotage.xds.cluster_names import key_of
from pilotage.xds.clusters import shared_clusters
from pilotage.xds.downgrade import Downgrade
from pilotage.xds.epochs import Epochs
from pilotage.xds.frontends import Frontends, keys_of
from pilotage.xds.holds import Holds
from pilotage.xds.label_files import LabelFiles
from pilotage.xds.listener_state import ListenerState
from pilotage.xds.measured import MeasuredNames
from pilotage.xds.middlewares import route_policy
from pilotage.xds.problems import build_failed, of_route
from pilotage.xds.reported_problems import ReportedProblems
from pilotage.xds.resources import LISTENER, SCOPE, SECRET, Key, Resource, by_key
from pilotage.xds.rule_targets import RuleTargets
from pilotage.xds.ruled_routes import RuledRoutes, check_route
from pilotage.xds.server_names import FILE_SECRETS
from pilotage.xds.stream_filters import own_resources
from pilotage.xds.successors import Successors
from pilotage.xds.target_guard import TargetGuard, Targets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pilotage.core.problems import Problem
    from pilotage.engine.credentials import Credentials
    from pilotage.routes.gate import Gate
    from pilotage.routes.route import Route
    from pilotage.xds.agent import Agent
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions

__all__ = ["Snapshot"]

_ROUTE, _POOL = "route", "pool"


class Snapshot:
    """The configuration that every Envoy should have.

    Attributes:
        resources: type URL and name -> resource.
        problems: source -> its problems. A source is ``route/ALIAS``, ``pool/LINK``, ``listener/tcp/PORT``, ``auth/…``
            for missing forwardauth routes, or ``made/…`` for unexpected errors.
        lingering: alias of a removed route whose requests wait for a successor -> the route's last state.
        downgrade: which https targets speak plain HTTP. Requests to them are sent as http.
        targets: where Envoy may connect.
        files: the files named in labels, as last read.
        rules: the routes with rules.
        touched: aliases that have changed since the owner last emptied this set.
        gates: ``route/ALIAS`` or ``pool/NAME``, if its containers can sleep -> whether requests pass, wait or fail.
        holds: which backends let requests wait for an endpoint.
        frontends: the scopes and listeners of the backends.
        restarting: aliases whose containers were all told to stop and may come back, until :meth:`settle`.
        agents: the agents, and the routes that use them.
        listeners: the certificates and challenges of the HTTP listeners.
        awaited: aliases that began to linger or to restart since the owner last emptied this set.

    """

    def __init__(
        self, options: GatewayOptions, guard: TargetGuard | None = None, listeners: ListenerState | None = None
    ) -> None:
        self.options = options
        self.listeners = listeners or ListenerState()
        self.listeners.clients.clear()
        self.targets = Targets(guard or TargetGuard())
        self.files, self.rules, self._measured = LabelFiles(), RuledRoutes(options.max_rule_memory), MeasuredNames()
        self.touched: set[str] = set()
        self.resources: dict[Key, Resource] = {}
        self.problems, self.holds = ReportedProblems(), Holds(Epochs())
        self.lingering: dict[str, Route] = {}
        self.downgrade, self.agents, self._rule_targets = Downgrade(), AgentRoutes(), RuleTargets()
        self.restarting: set[str] = set()
        self.gates: dict[str, Gate] = {}
        self.awaited: set[str] = set()
        self._table = Table()
        self._routes: dict[str, Route] = {}
        self._backends: dict[str, Backend] = {}
        self._pools, self._auth_users = Index[str, str](), Index[str, str]()
        self.frontends, self._successors = Frontends(), Successors()
        self._clusters: dict[str, set[Key]] = {}
        self.apply(by_key([*shared_clusters(options), *self.listeners.resources(options)]))

    @property
    def table(self) -> Table:
        """The table that was applied last."""
        return self._table

    def replace(self, table: Table) -> frozenset[Key]:
        """Apply a table that may differ everywhere; return the keys of the changed resources."""
        return self.change(table, {*self._table.routes, *table.routes})

    def change(self, table: Table, aliases: Iterable[str]) -> frozenset[Key]:
        """Apply a table in which only some aliases may differ from the last one.

        Args:
            table: the current table.
            aliases: all aliases that may differ.

        Returns:
            The keys of the resources that were added, changed or removed.

        """
        self._table = table
        if table.engine_order != self.targets.ranking.engines:
            self.targets.ranking = Ranking(table.engine_order)
        affected, aliases, policy = set[str](), list(aliases), self.targets.guard.policy
        routes = self.rules.follow(table.routes, map(self._rule_targets.owner, aliases), policy)
        wanted = self._rule_targets.follow(routes, aliases, policy)
        for alias in chain(self.targets.follow(wanted), self.rules.retry()):
            route = self._rule_targets.hidden.get(alias) or table.routes.get(alias)
            self.frontends.ports.follow(alias, route)
            affected |= self._update_route(alias, route)
            self.touched.add(alias)
        changed = self._rebuild(affected)
        for gone in self._successors.found(map(self._backends.get, affected)):
            changed |= self.remove(gone, self.lingering[gone])
        return changed

    def remove(self, alias: str, route: Route) -> frozenset[Key]:
        """Remove a lingering route, unless a successor has come; return the changed keys."""
        if self.lingering.get(alias) is not route:
            return frozenset()
        del self.lingering[alias]
        self._successors.forget(alias)
        return self._rebuild(self._index_route(alias, None))

    def build_again(self, *keys: str) -> frozenset[Key]:
        """Rebuild the backends with these keys (:attr:`gates` or :attr:`holds` changed); return the changed keys."""
        return self._rebuild(keys)

    def settle(self, alias: str) -> frozenset[Key]:
        """Stop expecting an alias's containers back, unless they drain or its route lingers; return changed keys."""
        route = self._routes.get(alias)
        awaited = alias in self.lingering or (route is not None and is_draining((route,)))
        if alias not in self.restarting or awaited:
            return frozenset()
        self.restarting.discard(alias)
        return self._rebuild([f"{_ROUTE}/{alias}"])

    def hold_of(self, alias: str, route: Route) -> float:
        """Return how many seconds the requests of a removed route wait for a successor."""
        return route.settings.hold or (RESTART_HOLD if alias in self.restarting else 0.0)

    def check_again(self, aliases: Iterable[str]) -> frozenset[Key]:
        """Rebuild the routes with these aliases from the same table; return the changed keys."""
        return self.change(self._table, aliases)

    def configure(self, options: GatewayOptions, guard: TargetGuard | None = None) -> frozenset[Key]:
        """Apply new settings, and read the files named in labels again; return the changed keys."""
        guard = guard or self.targets.guard
        options = msgspec.structs.replace(options, files_socket=options.files_socket or self.options.files_socket)
        if options == self.options and guard == self.targets.guard:
            return self.check_again(self.files.aliases | self.rules.files.aliases)
        fresh = Snapshot(options, guard, self.listeners)
        fresh.targets.inherit(self.targets)
        fresh.rules = RuledRoutes(options.max_rule_memory, self.rules)
        fresh.frontends.ports, fresh._measured = self.frontends.ports, self._measured
        fresh.gates, fresh.agents, fresh.holds = self.gates, self.agents, self.holds
        fresh.restarting, fresh.awaited, fresh.downgrade.plain = self.restarting, self.awaited, self.downgrade.plain
        fresh.replace(self._table)
        fresh.problems.follow(self.problems)
        fresh.files.inherit(self.files, self.lingering)
        owns = self.listeners.owns
        fresh.resources |= {key: it for key, it in self.resources.items() if key[0] == SECRET and not owns(key)}
        fresh.resources |= {item.key: item for item in agent_clusters(self.agents.known.values(), options)}
        kept = self.resources  # sessions hold a reference to it
        wanted: dict[Key, Resource | None] = {**dict.fromkeys(kept.keys() - fresh.resources.keys()), **fresh.resources}
        as_before = {"resources": kept, "lingering": (lingering := self.lingering), "_successors": self._successors}
        self.__dict__ |= fresh.__dict__ | as_before
        changed = self.apply(wanted)
        for alias, route in lingering.items():
            changed |= self._rebuild(self._index_route(alias, route))
        return changed

    def set_secrets(self, secrets: Iterable[Resource]) -> frozenset[Key]:
        """Replace all certificates from the operator's files; return the changed keys."""
        gone = [key for key in self.resources if key[0] == SECRET and key[1].startswith((FILE_SECRETS, CLIENT_CAS))]
        return self.apply(dict.fromkeys(gone) | by_key(secrets))

    def set_agents(self, agents: Mapping[Agent, Credentials | None]) -> frozenset[Key]:
        """Replace all agents; ``None`` keeps an agent's previous credentials. Return the changed keys."""
        wanted = agent_changes(self.agents.known.values(), agents, self.resources, self.options)
        changed = self.apply({key: item for key, item in wanted.items() if item is not None})
        self.targets.agent_addresses = {agent.address: agent.ip for agent in agents}
        changed |= self.check_again(self.agents.replace(agents))  # no route leads to a cluster that is removed
        return changed | self.apply({key: item for key, item in wanted.items() if item is None})

    def backend(self, cluster: str) -> Backend | None:
        """Return the backend of the cluster with this name; ``None`` if there is no such backend."""
        return self._backends.get(key_of(cluster))

    def resources_of(self, alias: str) -> tuple[str, list[Key]]:
        """Return the name of a route's backend and the keys of its resources; both empty if it is not served."""
        backend = self._backends.get(self._backend_keys(alias)[0]) if alias in self._routes else None
        if backend is None:
            return "", []
        return backend.name, [*sorted(self._clusters.get(backend.key, ())), *keys_of(backend)]

    # ---- from routes to backends

    def _update_route(self, alias: str, route: Route | None) -> set[str]:
        """Update the route of an alias; return the keys of the backends that it may affect."""
        problems: tuple[Problem, ...] = ()
        self.files.refused.discard(alias)
        gone = route is None or route.excluded_reason == ExclusionReason.NOT_RUNNING
        if route is not None and route.excluded:
            route = None
        elif route is not None:
            problems, route = check_route(route, self.options, self.rules, self.files, self._rule_targets.check)
        route, found = self.rules.admit(alias, route)
        problems += found
        route, found = self.agents.apply(alias, route)
        problems += found
        if route is not None:
            route, found = self.targets.checked(route)
            problems += found
        route, found = self.downgrade.apply(alias, route)
        problems = tuple(of_route((*problems, *found), self._table.routes.get(alias), route))
        self.problems.report(f"{_ROUTE}/{alias}", self._rule_targets.placed(problems, alias))
        before = self._routes.get(alias)
        if route is not None and may_restart(route):
            self.restarting.add(alias)
            self.awaited.add(alias)
        if route is None and gone and before is not None and self.hold_of(alias, before):
            if alias in self.lingering:
                return self._index_route(alias, before)
            self.lingering[alias] = route = msgspec.structs.replace(before, endpoints=())
            self.awaited.add(alias)
            above = self._successors.watch(alias, before, self.options.match_domains, self._backends)
            return self._index_route(alias, route) | above
        self.lingering.pop(alias, None)
        self._successors.forget(alias)
        return self._index_route(alias, route)

    def _index_route(self, alias: str, route: Route | None) -> set[str]:
        old = self._routes.get(alias)
        affected = {f"{_ROUTE}/{alias}"}
        for known, index in ((old, Index.discard), (route, Index.add)):
            if known is None:
                continue
            if link := known.pool_name:
                index(self._pools, link, alias)
                affected.add(f"{_POOL}/{link}")
            auth = route_policy(known.middlewares).auth
            if auth is not None:
                index(self._auth_users, auth.route, alias)
                affected.add(f"{_ROUTE}/{auth.route}")
            affected |= {f"{_ROUTE}/{name}" for name in self._rule_targets.led(known)}
        if route is None:
            self._routes.pop(alias, None)
            self.files.forget(alias)
        else:
            self._routes[alias] = route
        if approval(old) != approval(route):  # other routes may use it for forwardauth
            affected |= {key for user in self._auth_users[alias] for key in self._backend_keys(user)}
        return affected

    def _backend_keys(self, alias: str) -> list[str]:
        """Return the keys of the backends that a route belongs to."""
        link = self._routes[alias].pool_name if alias in self._routes else ""
        return [f"{_POOL}/{link}"] if link else [f"{_ROUTE}/{alias}"]

    def _build_backend(self, key: str) -> Backend | None:
        kind, _, name = key.partition("/")
        if kind == _ROUTE:
            route = self._routes.get(name)
            if route is None or route.pool_name:
                self.problems.report(f"auth/{key}", ())
                return None
            used, restarting = name in self._auth_users or name in self._rule_targets.users, name in self.restarting
            agent, gate = self.agents.known.get(route.agent), self.gates.get(key)
            backend = route_backend(route, used_for_auth=used, restarting=restarting, gate=gate, agent=agent)
            return auth_checked(key, backend, self._routes, self.problems)
        order = {alias: index for index, alias in enumerate(self._table.pool_members.get(name, ()))}
        aliases = sorted(self._pools[name], key=lambda alias: (order.get(alias, len(order)), alias))
        members = [self._routes[alias] for alias in aliases]  # lingering ones are last
        if not members:
            self.problems.report(key, ())
            self.problems.report(f"auth/{key}", ())
            return None
        backend, problems = pool_backend(name, members, gate=self.gates.get(key), agents=self.agents.known)
        self.problems.report(key, problems)
        return auth_checked(key, backend, self._routes, self.problems)

    def _rebuild(self, affected: Collection[str]) -> frozenset[Key]:
        wanted: dict[Key, Resource | None] = {}
        scopes, ports, asks = set[str](), set[str](), False
        for key, (new, clusters) in self._made(affected).items():
            old = self._backends.get(key)
            if old == new:
                continue
            asks |= self.listeners.follow(key, new)
            changed_scopes, changed_ports = self.frontends.follow(key, old, new)
            scopes |= changed_scopes
            ports |= changed_ports
            if old is not None:
                wanted |= dict.fromkeys(it for it in keys_of(old) if it[0] == LISTENER)
            wanted |= dict.fromkeys(self._clusters.pop(key, set()) - clusters.keys())
            wanted |= clusters
            if clusters:
                self._clusters[key] = set(clusters)
            if new is None:
                del self._backends[key]
                self.holds.leave(key)
            else:
                self._backends[key] = new
        wanted |= self._listeners_on(ports)
        options, engines = self.options, self._table.engine_order
        for name in scopes:
            made, problems = self.frontends.scope(name, self._backends, options, engines, self.lingering)
            self.problems.report(f"made/{name}", problems)
            wanted[SCOPE, name] = made
        if asks:
            wanted |= self.listeners.changes(self.options, self.resources)
        return self.apply(wanted)

    def change_listeners(self) -> frozenset[Key]:
        """Rebuild all listeners, because :attr:`listeners` has changed; return the changed keys."""
        changes = self.listeners.changes(self.options, list(self.resources))
        return self.apply(changes | self._listeners_on(self.frontends.open_ports))

    def _listeners_on(self, ports: Iterable[str]) -> dict[Key, Resource | None]:
        found: dict[Key, Resource | None] = {}
        certificates = self.listeners.certificates(self.options) if ports else []
        for port in ports:
            made, problems = self.frontends.listeners(
                port, self._backends, self.options, self._table.engine_order, certificates
            )
            self.problems.report(f"listener/{port}", problems)
            found |= made
        return found

    # ---- from backends to resources

    def _build(self, key: str) -> tuple[Backend | None, dict[Key, Resource | None]]:
        """Build the backend of a route or pool, and its clusters. If that fails, return no backend."""
        try:
            backend = self._measured.add_to(self.files.add_to(self._build_backend(key)))
            backend = self.holds.apply(backend) if backend is not None else None
            clusters = by_key(own_resources(backend, self.options)) if backend is not None else {}
        except Exception as error:  # noqa: BLE001  an error in one route must not block the others
            failed = [build_failed(self._routes[alias], error) for alias in sorted(self._aliases(key))]
            self.problems.report(f"made/{key}", failed)
            return None, {}
        self.problems.report(f"made/{key}", self._measured.problems(backend))
        return backend, clusters

    def _made(self, affected: Collection[str]) -> dict[str, tuple[Backend | None, dict[Key, Resource | None]]]:
        """Build backends, and those whose rules send requests to them."""
        users = (user for key in affected for it in self._aliases(key) for user in self._rule_targets.users[it])
        made = {key: self._build(key) for key in {*affected, *(key for it in users for key in self._backend_keys(it))}}
        return self._rule_targets.link(made, self._backends, lambda it: self._backend_keys(it)[0], self.problems)

    def _aliases(self, key: str) -> Iterable[str]:
        kind, _, name = key.partition("/")
        return set(self._pools[name]) if kind == _POOL else {name}

    def apply(self, wanted: Mapping[Key, Resource | None]) -> frozenset[Key]:
        """Set or, if ``None``, remove resources; return the changed keys."""
        changed = set()
        for key, item in wanted.items():
            known = self.resources.get(key)
            if (known and known.version) == (item and item.version):
                if item is not None and known is not None and item.answers != known.answers:
                    self.resources[key] = item  # other routes share this listener now
                continue
            changed.add(key)
            if item is not None:
                self.resources[key] = item
            else:
                del self.resources[key]
        return frozenset(changed)
