"""Keeps the claims to aliases and hosts, and decides which claim to each name wins. Pure.

Aliases and hosts are resolved separately, because a host can be claimed in three ways: by an equal alias, by a pool of
that name, or, for ``shop.example.com``, by the alias ``shop``. Only names that a change affects are resolved again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.policy import NO_POLICY
from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.hosts import clean_domains, first_label, is_host, is_stream_pool, served_name
from pilotage.routes.route import Route
from pilotage.table.conflicts import resolve_claims
from pilotage.table.hosts import HostClaims, HostResolution, HostRules, lost_names, resolve_host
from pilotage.table.precedence import Ranking, holder_of, is_draining, is_open, is_ready, successor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pilotage.policy import Policy
    from pilotage.table.precedence import Holder

__all__ = ["Names", "Owner", "Resolved"]

Owner = tuple[str, str]
"""The owner of a claim: ``(engine, container ID)``, or ``(file, alias)`` for a route from a file."""

_BATCH: Final = 500  # names resolved before other tasks get a turn; about 2 ms


class Resolved(msgspec.Struct):
    """The changes from resolving names.

    Attributes:
        routes: alias -> the route that gets the alias, excluded if its host is refused; ``None`` if no route claims the
            alias any more.
        problems: alias -> problems of routes that claim the alias or its hosts, but do not get them.
        pools: name of a pool -> aliases of its members, the leader first; empty if the pool no longer exists.
        causes: alias -> the event that led to the change.

    """

    routes: dict[str, Route | None] = {}
    problems: dict[str, tuple[Problem, ...]] = {}
    pools: dict[str, tuple[str, ...]] = {}
    causes: dict[str, str] = {}


class Names:
    """The claims of all containers and files to names.

    Until :meth:`keep` is called, the holder of a name depends only on the current claims. From then on, clients are
    being served, so each holder keeps its name for as long as its container exists.
    """

    def __init__(self) -> None:
        self._claims: dict[str, dict[Owner, Route]] = {}
        self._aliases: dict[Owner, tuple[str, ...]] = {}
        self._touched: dict[str, str] = {}
        self._domains: frozenset[str] = frozenset()
        self._rules = HostRules(ranking=Ranking(), policy=NO_POLICY)
        # the outcome for aliases
        self._won: dict[str, Route] = {}
        self._conflicts: dict[str, tuple[Problem, ...]] = {}
        # the outcome for hosts, unless the route with the same alias simply serves the host
        self._pooled: dict[str, set[str]] = {}  # pool -> aliases of the routes that name it
        self._full: dict[str, set[str]] = {}  # first label -> full names that begin with it
        self._hosts: dict[str, HostResolution] = {}
        self._refused: dict[str, tuple[str, Problem | None]] = {}  # alias -> the host that it must not serve, and why
        self._lost: dict[str, dict[str, Route]] = {}  # first label -> full name below it -> the other route that has it
        self._above: dict[str, object] = {}  # first label -> the state on which the names below it depend
        # history
        self._keeps = False
        self._held: dict[str, tuple[Holder, ...]] = {}
        self._held_hosts: dict[str, tuple[Holder, ...]] = {}

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines in their configured order."""
        return self._rules.ranking.engines

    @property
    def domains(self) -> frozenset[str]:
        """Domains under which aliases are served; empty for any."""
        return self._domains

    # ---- claims and settings

    def set_claims(self, owner: Owner, routes: Mapping[str, Route], cause: str = "") -> None:
        """Replace the claims of an owner. Without routes, the owner is removed.

        Args:
            owner: the container or file route.
            routes: alias -> route.
            cause: the event that led to the change.

        """
        for alias in self._aliases.pop(owner, ()):
            if alias not in routes:
                claims = self._claims[alias]
                del claims[owner]
                if not claims:
                    del self._claims[alias]
                self._touched[alias] = cause
        for alias, route in routes.items():
            claims = self._claims.setdefault(alias, {})
            if claims.get(owner) != route:
                claims[owner] = route
                self._touched[alias] = cause
        if routes:
            self._aliases[owner] = tuple(routes)

    def configure(self, *, engines: Iterable[str] | None = None, policy: Policy | None = None) -> None:
        """Change the given rules for choosing between claims. Names with several claims are resolved again.

        Args:
            engines: names of the engines in their configured order.
            policy: what containers may claim, and the domains under which aliases are served.

        """
        rules = self._rules
        order = rules.ranking.engines if engines is None else tuple(engines)
        policy = rules.policy if policy is None else policy
        if (order, policy) == (rules.ranking.engines, rules.policy):
            return
        self._rules = msgspec.structs.replace(rules, ranking=Ranking(order), policy=policy)
        self._domains = frozenset(clean_domains(policy.domains))
        for alias, claims in self._claims.items():
            if len(claims) > 1 or alias in self._refused:
                self._touched.setdefault(alias, "")
        for names in (*self._pooled.values(), *self._full.values()):
            self._touched |= dict.fromkeys((names & self._won.keys()) - self._touched.keys(), "")

    def keep(self) -> None:
        """Let each holder of a name keep it from now on, for as long as its container exists."""
        if self._keeps:
            return
        self._keeps = True
        self._held = {alias: (holder_of(route),) for alias, route in self._won.items() if not route.excluded}
        self._held_hosts = {
            name: tuple(dict.fromkeys(map(holder_of, found.routes))) for name, found in self._hosts.items()
        }

    def rename_engine(self, old: str, new: str) -> None:
        """Let an engine's containers keep their names when the engine is renamed."""
        for held in (self._held, self._held_hosts):
            for name, holders in held.items():
                if any(holder[0] == old for holder in holders):
                    held[name] = tuple((new, *holder[1:]) if holder[0] == old else holder for holder in holders)

    # ---- resolving

    @property
    def has_changed(self) -> bool:
        """Whether there are names to resolve."""
        return bool(self._touched)

    def resolve(self) -> Iterator[Resolved]:
        """Resolve every name whose claims changed since the last call.

        Yields:
            The result so far, after every few hundred names, and again when it is complete. Claims may change in
            between.

        """
        touched, self._touched = self._touched, {}
        resolved = Resolved(causes=touched)
        held: dict[str, tuple[Holder, ...]] = {}
        hosts: dict[str, str] = {}
        for number, (alias, cause) in enumerate(touched.items(), 1):
            for name in self._resolve_alias(alias, held):
                hosts.setdefault(name, cause)
            if number % _BATCH == 0:
                yield resolved
        if hosts:
            held_hosts: dict[str, tuple[Holder, ...]] = {}
            for name, cause in self._below(hosts, resolved, held_hosts).items():
                self._resolve_host(name, cause, resolved, held_hosts)
            if self._keeps:
                _update(self._held_hosts, held_hosts)
        _update(self._held, held)
        for number, alias in enumerate(resolved.causes, 1):
            self._settle(alias, resolved)
            if number % _BATCH == 0:
                yield resolved
        yield resolved

    def _below(
        self, hosts: Mapping[str, str], resolved: Resolved, held: dict[str, tuple[Holder, ...]]
    ) -> dict[str, str]:
        """Choose the holders of the hosts without dots; return full names to resolve next -> causes."""
        below: dict[str, str] = {}
        for name, cause in hosts.items():
            if first_label(name):
                below.setdefault(name, cause)
                continue
            self._resolve_host(name, cause, resolved, held)
            if name in self._full and self._update_above(name):
                below |= dict.fromkeys(self._full[name] - below.keys(), cause)
                resolved.causes.setdefault(name, cause)
        return below

    def _resolve_alias(self, alias: str, held: dict[str, tuple[Holder, ...]]) -> tuple[str, ...]:
        """Choose the route that gets an alias; return the hosts that must be resolved because of it."""
        before, claims = self._won.get(alias), self._claims.get(alias)
        now = None
        if claims is None:
            self._won.pop(alias, None)
            self._conflicts.pop(alias, None)
            if alias in self._held:
                held[alias] = ()
        else:
            known = self._held.get(alias, ())
            found = resolve_claims(tuple(claims.values()), self._rules.ranking, known)
            now = self._won[alias] = found.route
            if found.problems:
                self._conflicts[alias] = found.problems
            else:
                self._conflicts.pop(alias, None)
            if self._keeps:
                holding = () if now.excluded else (holder_of(now),)
                if known != holding:
                    held[alias] = successor(known, holding, set(map(holder_of, claims.values())))
        was, link = (route.pool_name if route is not None else "" for route in (before, now))
        if "." not in alias and not was and not link:
            # Almost every host is plain: the route with the same alias has it, and nothing else claims it.
            contested = alias in self._pooled or alias in self._full or alias in self._hosts
            return (alias,) if contested else ()
        if was and was != link:
            _discard(self._pooled, was, alias)
        if link:
            self._pooled.setdefault(link, set()).add(alias)
        names = tuple(dict.fromkeys(name for name in (alias, was, link) if name))
        for name in names:
            self._index_full_name(name)
        return names

    def _index_full_name(self, name: str) -> None:
        label = first_label(name)
        if not label:
            return
        if name in self._pooled or name in self._won:
            self._full.setdefault(label, set()).add(name)
        elif _discard(self._full, label, name):
            self._above.pop(label, None)

    def _resolve_host(self, name: str, cause: str, resolved: Resolved, held: dict[str, tuple[Holder, ...]]) -> None:
        """Choose the routes that serve a host, and record what changed."""
        claims, pooled = self._claims.get(name, {}), self._pooled.get(name, ())
        label, before = self._label_above(name), self._hosts.get(name)
        if not pooled and not label and before is None:
            return
        now = HostResolution()
        held[name] = ()
        if (pooled or label) and (pooled or claims) and (is_host(name) or is_stream_pool(name)):
            known = self._held_hosts.get(name) or (*self._held.get(name, ()), *self._held_by(label))
            above = self._serving(label) if label else ()
            found = HostClaims(
                name=name,
                route=self._unpooled(name),
                pooled=tuple(
                    route
                    for route in map(self._won.__getitem__, sorted(pooled))
                    if served_name(route) == name and route.is_stream is is_stream_pool(name)
                ),
                above=above,
                held=known,
            )
            now = resolve_host(found, self._rules)
            present = set(map(holder_of, (*self._claiming(name), *self._claiming(label))))
            held[name] = successor(known, map(holder_of, now.routes), present)
        self._record_host(name, before or HostResolution(), now, resolved, cause)

    def _unpooled(self, name: str) -> Route | None:
        """Return the route that answers for a host under its own alias rather than as a member of a pool."""
        route = self._won.get(name)
        return route if route is not None and served_name(route) == name and not route.pool else None

    def _claiming(self, name: str) -> Iterator[Route]:
        """Yield the routes that claim a host, including those of stopped containers."""
        yield from self._claims.get(name, {}).values()
        yield from map(self._won.__getitem__, self._pooled.get(name, ()))

    def _record_host(
        self, name: str, before: HostResolution, now: HostResolution, resolved: Resolved, cause: str
    ) -> None:
        if now.kind:
            self._hosts[name] = now
        else:
            self._hosts.pop(name, None)
        for alias in before.refused:
            if alias not in now.refused and self._refused.get(alias, ("",))[0] == name:
                del self._refused[alias]
                resolved.causes.setdefault(alias, cause)
        for alias, problem in now.refused.items():
            if self._refused.get(alias) != (name, problem):
                self._refused[alias] = (name, problem)
                resolved.causes.setdefault(alias, cause)
        one, other = ([each.alias for each in found.routes] if found.kind == "pool" else [] for found in (before, now))
        if one != other:
            resolved.pools[name] = tuple(other)
            resolved.causes |= dict.fromkeys([each for each in (*one, *other) if each not in resolved.causes], cause)
        if label := first_label(name):
            self._record_lost(label, name, now, resolved, cause)

    # ---- full names and their first label

    def _serving(self, name: str) -> tuple[Route, ...]:
        """Return the routes that serve a host without dots."""
        found = self._hosts.get(name)
        if found is not None:
            return found.routes
        route = self._unpooled(name)
        return (route,) if route is not None else ()

    def _label_above(self, name: str) -> str:
        """Return a full name's first label if its alias or pool also claims the full name; else ``""``."""
        label = first_label(name)
        if not label or (self._domains and name[len(label) + 1 :] not in self._domains):
            return ""
        return label if label in self._claims or label in self._pooled else ""

    def _held_by(self, label: str) -> tuple[Holder, ...]:
        return self._held_hosts.get(label) or self._held.get(label, ())

    def _update_above(self, label: str) -> bool:
        """Record who serves a label; return whether the full names below it must be resolved again."""
        routes = self._serving(label)
        now = [
            (self._rules.ranking.rank(each), holder_of(each), is_open(each), is_ready(each), is_draining((each,)))
            for each in routes
        ]
        if self._above.get(label) == now:
            return False
        self._above[label] = now
        return True

    def _record_lost(self, label: str, name: str, now: HostResolution, resolved: Resolved, cause: str) -> None:
        """Record whether a full name has another holder than its first label. A problem reports this later."""
        lost = self._lost.setdefault(label, {})
        lower = self._label_above(name)
        above = self._serving(lower) if lower else ()
        other = now.routes[0] if now.kind in ("route", "pool") else None
        if other is not None and above and holder_of(other) not in set(map(holder_of, above)):
            changed = lost.get(name) != other
            lost[name] = other
        else:
            changed = lost.pop(name, None) is not None
        if not lost:
            del self._lost[label]
        if changed:
            resolved.causes.setdefault(label, cause)

    # ---- the outcome

    def _settle(self, alias: str, resolved: Resolved) -> None:
        """Add the route and the problems of an alias to the result."""
        route = self._won.get(alias)
        problems = self._conflicts.get(alias, ())
        if route is not None and alias in self._refused:
            route = msgspec.structs.replace(
                route, excluded=True, excluded_reason=ExclusionReason.TAKEN, endpoints=(), health_check=False
            )
            _, refusal = self._refused[alias]
            problems = (*problems, refusal) if refusal is not None else problems
        if alias in self._lost and (serving := self._serving(alias)):
            problems = (*problems, lost_names(alias, serving[0], self._lost[alias]))
        resolved.routes[alias] = route
        resolved.problems[alias] = problems


def _discard(indexed: dict[str, set[str]], key: str, value: str) -> bool:
    """Remove a value from an index; return whether it was the last one under its key."""
    values = indexed.get(key, set())
    values.discard(value)
    if not values:
        indexed.pop(key, None)
    return not values


def _update(held: dict[str, tuple[Holder, ...]], changes: Mapping[str, tuple[Holder, ...]]) -> None:
    for name, holders in changes.items():
        if holders:
            held[name] = holders
        else:
            held.pop(name, None)
