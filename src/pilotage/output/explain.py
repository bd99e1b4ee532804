"""Explains a container or an alias: each setting of its routes with its source, and why a route is not served. Pure.

This module decides nothing. Reasons for scheme, host and port come from `routes.target`, the source of a setting from
`labels.decode`, and the owner of an alias from the table.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.hostnames import ascii_host
from pilotage.core.problems import Problem
from pilotage.core.secrets import EVERYTHING
from pilotage.core.text import format_duration
from pilotage.output.exclusion import remedy, why_no_routes
from pilotage.output.facts import Fact, agent_facts, container_facts, deciding_rule, has_alias
from pilotage.output.route_facts import file_route_facts, route_facts
from pilotage.output.status import describe_route
from pilotage.routes.build import decode_labels
from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.hosts import caught_by, served_name
from pilotage.routes.json import EndpointJson, describe_endpoints
from pilotage.routes.rules import RuleDescription, describe_rules, read_rules
from pilotage.routes.schema import ROUTE
from pilotage.routes.support import refused_settings
from pilotage.routes.target import resolve_static_target, resolve_target
from pilotage.table.precedence import Ranking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pilotage.containers.container import Container
    from pilotage.core.secrets import Visibility
    from pilotage.labels.merge import AliasFields
    from pilotage.routes.build import Built
    from pilotage.routes.file import RouteFile
    from pilotage.routes.route import EndpointHealth, Route
    from pilotage.table.snapshot import EngineSnapshot, FoundAgent
    from pilotage.table.table import Table

__all__ = ["ContainerExplanation", "Explanation", "FileExplanation", "RouteExplanation", "explain_name", "known_names"]


class RouteExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """One alias of one container or file.

    Attributes:
        alias: the route's name.
        target: the target as a URL; ``None`` while its host is unknown.
        status: the route's state in a few words, such as ``healthy``; ``""`` if the route is not served.
        endpoints: the containers that take its requests, with the results of the gateway's probes.
        served: whether the route is in use: it is not excluded, and it owns its alias.
        reason: why the route is not served; ``""`` if it is served.
        remedy: how to get the route served; ``""`` if it is served or no remedy is known.
        facts: scheme, host and port, then the settings by name.
        notes: sentences about replicas, pools, probes and other claims to the alias.
        problems: problems with the route's labels, and with the route in the gateway of a running daemon.
        rules: the route's rules, in their order.
        rule_file: the file with the rules; ``""`` if they are in the field ``rules``.
        conflicts: problems that say that another container or file owns the alias or host; ``reason`` says the same.

    """

    alias: str
    target: str | None
    served: bool
    status: str = ""
    endpoints: list[EndpointJson] = []
    reason: str = ""
    remedy: str = ""
    facts: tuple[Fact, ...] = ()
    rules: tuple[RuleDescription, ...] = ()
    rule_file: str = ""
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    conflicts: tuple[Problem, ...] = ()


class ContainerExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """One container and its routes.

    Attributes:
        name, id, provider: the container and its engine.
        image: the image.
        state: the engine's state, e.g. ``running``.
        status: the state in the engine's words, e.g. ``Up 3 hours``.
        facts: aliases, network, ports and idling.
        notes: why the container has no routes; empty if it has routes.
        routes: the requested routes.
        problems: the problems with the container as a whole.

    """

    name: str
    id: str
    provider: str
    image: str
    state: str
    status: str
    facts: tuple[Fact, ...]
    notes: tuple[str, ...] = ()
    routes: tuple[RouteExplanation, ...] = ()
    problems: tuple[Problem, ...] = ()


class FileExplanation(msgspec.Struct, frozen=True):
    """One route file.

    Attributes:
        name: the file name.
        routes: the requested routes.

    """

    name: str
    routes: tuple[RouteExplanation, ...]


class Explanation(msgspec.Struct, frozen=True):
    """Everything about one name.

    Attributes:
        name: the name.
        containers: the containers with this name, each with all its routes; then the containers that claim the name as
            an alias or pool, each with only the routes that claim it.
        files: the route files that define a route with this name.

    """

    name: str
    containers: tuple[ContainerExplanation, ...]
    files: tuple[FileExplanation, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, of containers and then of files."""
        found: list[Problem] = []
        for container in self.containers:
            found += container.problems
            found += _problems_of(container.routes)
        for file in self.files:
            found += _problems_of(file.routes)
        return tuple(found)


def _problems_of(routes: Iterable[RouteExplanation]) -> Iterator[Problem]:
    for route in routes:
        yield from route.problems
        yield from route.conflicts


def known_names(snapshots: Iterable[EngineSnapshot], files: Iterable[RouteFile] = ()) -> list[str]:
    """Return the names of all containers, aliases and pools, sorted."""
    found = {route.alias for file in files for route in file.routes}
    for snapshot in snapshots:
        found |= {container.container_name for container in snapshot.containers}
        found |= {name for built in snapshot.built for route in built.routes for name in (route.alias, route.pool)}
    return sorted(found - {""})


def explain_name(
    name: str,
    snapshots: Sequence[EngineSnapshot],
    table: Table,
    files: Sequence[RouteFile] = (),
    *,
    show_secrets: bool = False,
    only_alias: bool = False,
    with_rules: Callable[[Route], tuple[Route, tuple[Problem, ...]]] = lambda route: (route, ()),
) -> Explanation:
    """Explain a container or an alias.

    Args:
        name: a container, ``engine/container``, an alias, a pool, or the first 12 or more characters of a container ID.
        snapshots: all engines.
        table: the table built from the engines and files.
        files: all route files.
        show_secrets: whether to show passwords and other values that are hidden otherwise.
        only_alias: whether the name is an alias, and only claims to this alias are explained.
        with_rules: returns a route with the rules in the file that it names, or the problem with that file.

    """
    explainer = _Explainer(snapshots, files, table, EVERYTHING if show_secrets else ROUTE.visible, with_rules)
    named, claiming, host = [], [], ascii_host(name)
    for snapshot in snapshots:
        names = {container.container_id: container.container_name for container in snapshot.containers}
        for container, built in zip(snapshot.containers, snapshot.built, strict=True):
            if not only_alias and _is_called(container, name):
                named.append(explainer.container(container, built, built.routes, names, snapshot.agent))
            elif routes := [it for it in built.routes if (it.alias == host if only_alias else _answers(it, host))]:
                claiming.append(explainer.container(container, built, routes, names, snapshot.agent))
    found = (explainer.file(file, host) for file in files)
    return Explanation(name, (*named, *claiming), tuple(each for each in found if each.routes))


def _answers(route: Route, name: str) -> bool:
    """Return whether a name is a route's alias or the name of the route's pool."""
    return bool(name) and name in (route.alias, route.pool.lower())


def _is_called(container: Container, name: str) -> bool:
    own = container.container_name
    if own and name in (own, f"{container.provider}/{own}"):
        return True
    return len(name) >= 12 and container.container_id.startswith(name)


class _Explainer:
    """Explains containers and files, knowing which routes of other containers and files claim the same aliases."""

    def __init__(
        self,
        snapshots: Iterable[EngineSnapshot],
        files: Iterable[RouteFile],
        table: Table,
        visible: Visibility,
        with_rules: Callable[[Route], tuple[Route, tuple[Problem, ...]]],
    ) -> None:
        self._table, self._with_rules = table, with_rules
        self._ranking = Ranking(table.engine_order)
        self._visible = visible
        self._claims: dict[str, list[Route]] = {}
        for route in _all_routes(snapshots, files):
            self._claims.setdefault(route.alias, []).append(route)

    def container(
        self,
        container: Container,
        built: Built,
        routes: Iterable[Route],
        names: Mapping[str, str],
        agent: FoundAgent | None = None,
    ) -> ContainerExplanation:
        """Explain a container and the given routes of it. ``names``: ID -> name of all containers on its engine."""
        decoded = decode_labels(container)
        of_routes = {problem for route in built.routes for problem in route.problems}
        return ContainerExplanation(
            name=container.container_name,
            id=container.container_id,
            provider=container.provider,
            image=str(container.image),
            state=container.state,
            status=container.status,
            facts=(*container_facts(container, names), *agent_facts(container, agent), *deciding_rule(built)),
            notes=() if built.routes else (why_no_routes(container),),
            routes=tuple(self._container_route(container, route, decoded.find(route.alias)) for route in routes),
            problems=tuple(problem for problem in built.problems if problem not in of_routes),
        )

    def file(self, file: RouteFile, alias: str) -> FileExplanation:
        """Explain the routes of a file that have this alias."""
        found = []
        for route in (route for route in file.routes if route.alias == alias):
            target = resolve_static_target(route.alias, route.settings)
            change = "fix the problems below" if route.excluded else ""
            found.append(self._route(route, tuple(file_route_facts(route, file, target, self._visible)), change))
        return FileExplanation(file.name, tuple(found))

    def _container_route(self, container: Container, route: Route, labels: AliasFields) -> RouteExplanation:
        target = resolve_target(route.alias, container, route.settings)
        facts = tuple(route_facts(container, route, labels, target, self._visible))
        return self._route(route, facts, remedy(container, route, target.port_reason))

    def _route(self, route: Route, facts: tuple[Fact, ...], change: str) -> RouteExplanation:
        """Explain a route; ``change`` says what to do if the route is excluded."""
        winner = self._table.routes.get(route.alias, route)
        is_owner, reason = has_alias(route, winner), route.excluded_reason
        known = self._table.problems_by_key
        about = [p for p in known.get(("", route.alias), ()) if _is_about(p, route)]
        of_gateway = [p for p in known.get(("", ""), ()) if p.route == route.alias and _is_about(p, route)]
        conflicts = tuple(problem for problem in about if problem.severity == "error")
        if not reason and not is_owner:
            reason = f"the alias belongs to {self._owner(winner, route)}"
            change = "this route takes over if the other one is removed; to serve both, give one of them another alias"
        elif not reason and winner.excluded:
            reason, change = winner.excluded_reason, ""
            if conflicts:
                reason, change = conflicts[-1].message, conflicts[-1].hint
        refused = refused_settings((*route.problems, *of_gateway)).get(route.alias)
        if refused is not None and reason in ("", ExclusionReason.ERROR):
            reason, change = f"the gateway refuses {', '.join(refused) or 'it'}", "fix the problems below"
        ruled, unreadable = self._with_rules(route)
        known_messages = {it.message for it in of_gateway}
        notes = [f"its rules are not shown: {it.message}" for it in unreadable if it.message not in known_messages]
        if is_owner and not winner.excluded:
            notes += self._notes(route, winner)
        health, since = self._table.health_of(route.alias), self._table.stale_since(winner)
        wakefulness = self._table.wakefulness.get(route.alias)
        return RouteExplanation(
            alias=route.alias,
            target=route.target,
            served=not reason,
            status="" if reason else describe_route(winner, health, wakefulness, stale_since=since).text,
            endpoints=[] if reason else describe_endpoints(winner, health),
            reason=reason,
            remedy=change,
            facts=facts,
            rules=describe_rules(read_rules(ruled.settings.rules)),
            rule_file=route.settings.rule_file.removeprefix("file://") if ruled.settings.rules else "",
            notes=tuple(notes),
            problems=(*route.problems, *(problem for problem in about if problem.severity != "error"), *of_gateway),
            conflicts=conflicts,
        )

    def _notes(self, route: Route, winner: Route) -> Iterator[str]:
        """Yield sentences about a route's replicas, competing claims, probe results, sleep and pool."""
        if caught := caught_by(served_name(route)):
            yield f"answers for {caught}"
        members = {endpoint.container_id for endpoint in winner.endpoints}
        if len(members) > 1:
            names = ", ".join(endpoint.container for endpoint in winner.endpoints)
            yield f"shared by the replicas of one Compose service: {names}"
        for other in self._claims.get(route.alias, ()):
            if not other.excluded and not has_alias(other, winner):
                why = self._why_waiting(other, winner)
                yield f"{_name(other, route)} claims this alias too and waits, because {why}"
        for endpoint in winner.endpoints:
            health = self._table.health_of(winner.alias).get(endpoint.address)
            if health is not None and endpoint.container_id == route.container_id:
                yield f"{endpoint.address} {health.remark}{_since(health)}"
        if (awake := self._table.wakefulness.get(winner.alias)) is not None:
            woke = f"; the last time, waking took {format_duration(awake.last_wake)}" if awake.last_wake else ""
            planned = f"; sleeps at {_clock(awake.sleeps_at)} without a request" if awake.sleeps_at else ""
            yield f"{awake.remark} since {_clock(awake.since)}{planned}{woke}"
        if (temporary := self._table.self_signed.get(winner.alias)) is not None:
            yield temporary.remark
        if link := route.pool:
            pooled = self._table.pool_members.get(link, ())
            others = [alias for alias in pooled if alias != route.alias]
            leads = "this route leads" if pooled[:1] == (route.alias,) else f"{pooled[0]} leads" if pooled else ""
            yield (
                f"load-balanced with {', '.join(others)} in pool {link}, which {leads}"
                if others
                else f"the only member of pool {link} so far"
            )
            yield f"answers as {link}, not as {route.alias}"

    def _owner(self, winner: Route, claimant: Route) -> str:
        why = self._why(winner, claimant)
        if not winner.is_static:
            return f"container {_name(winner, claimant)}, {why}"
        if claimant.is_static:
            return f"file {winner.provider}, {why}"
        return f"file {winner.provider}, because files take precedence over containers"

    def _why_waiting(self, claimant: Route, winner: Route) -> str:
        if winner.is_static and not claimant.is_static:
            return "files take precedence over containers"
        return _LATER.get(self._why(winner, claimant), "it came later")

    def _why(self, winner: Route, claimant: Route) -> str:
        """Return why the winner got the alias: by rank, or because it had the alias before the claimant."""
        if self._ranking.rank(winner) > self._ranking.rank(claimant):
            return "which had it first"
        return self._ranking.why(winner, claimant)


_LATER: Final = {
    "which is older": "it is newer",
    "whose engine comes first": "its engine comes later",
    "which comes first by name": "it comes later by name",
}


def _all_routes(snapshots: Iterable[EngineSnapshot], files: Iterable[RouteFile]) -> Iterator[Route]:
    for file in files:
        yield from file.routes
    for snapshot in snapshots:
        for built in snapshot.built:
            yield from built.routes


def _name(route: Route, seen_from: Route) -> str:
    """Return the file or container of a route, with its engine unless ``seen_from`` is on the same engine."""
    if route.is_static:
        return f"file {route.provider}"
    return route.container if route.provider == seen_from.provider else f"{route.provider}/{route.container}"


def _since(health: EndpointHealth) -> str:
    if health.state == "pending":
        return ""
    return f", since {_clock(health.since)}"


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _is_about(problem: Problem, route: Route) -> bool:
    return (problem.provider or problem.file, problem.container) == (route.provider, route.container)
