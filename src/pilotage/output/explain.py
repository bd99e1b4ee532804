"""Why things are as they are: everything known about one container or alias, with the label that said it. Pure.

The decisions themselves are made elsewhere and are not made again here: schemes, hosts and ports come with reasons from
`routes.target`, labels with their places from `labels.decode`, who owns an alias from the table.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.text import format_duration, shorten
from pilotage.core.yaml import Located, bare
from pilotage.labels.decode import read_labels
from pilotage.output.facts import Fact, Source, container_facts, has_alias, remedy
from pilotage.recording.redact import holds_secret
from pilotage.routes.schema import ROUTE
from pilotage.routes.target import Reasons, infer, infer_static

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pilotage.containers.container import Container
    from pilotage.labels.decode import LabelTree
    from pilotage.routes.build import Built
    from pilotage.routes.file import RouteFile
    from pilotage.routes.route import EndpointHealth, Route
    from pilotage.table.snapshot import Roster
    from pilotage.table.table import Table

__all__ = ["ContainerExplanation", "Explanation", "FileExplanation", "RouteExplanation", "explain", "known_names"]


class RouteExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """One alias of one container.

    Attributes:
        alias: the route's name.
        target: where it leads, as a URL; ``None`` while that is not known.
        served: it counts: it is not excluded and no other container has its alias.
        reason: why it is not served, ``""`` if it is.
        remedy: what would change that.
        facts: scheme, host and port first, then whatever labels set, by name.
        notes: who else wants the alias, replicas, pools; sentences.
        problems: what is wrong with its labels.
        conflicts: the problem that another container has its alias, which the reason tells already.

    """

    alias: str
    target: str | None
    served: bool
    reason: str = ""
    remedy: str = ""
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    conflicts: tuple[Problem, ...] = ()


class ContainerExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """One container and its routes.

    Attributes:
        name, id, provider: which one, and of which engine.
        image, state, status: what it runs, and the engine's words for how it is.
        facts: aliases, network, ports, idling.
        notes: why it has no routes, when it has none.
        routes: those that were asked for.
        problems: what is wrong with the container as a whole.

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
    """One file of routes.

    Attributes:
        name: of the file.
        routes: those that were asked for.

    """

    name: str
    routes: tuple[RouteExplanation, ...]


class Explanation(msgspec.Struct, frozen=True):
    """Everything about one name.

    Attributes:
        name: what was asked for.
        containers: those that have the name, with all their routes; then those that want it as an alias, with that
            route alone. Empty when none has it.
        files: those in which it is written.

    """

    name: str
    containers: tuple[ContainerExplanation, ...]
    files: tuple[FileExplanation, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems of what is explained."""
        return tuple(
            problem
            for story in self.containers
            for problem in (
                *story.problems,
                *(p for route in story.routes for p in (*route.problems, *route.conflicts)),
            )
        ) + tuple(p for file in self.files for route in file.routes for p in (*route.problems, *route.conflicts))


def known_names(rosters: Iterable[Roster], files: Iterable[RouteFile] = ()) -> list[str]:
    """Return all names that can be asked for: of containers and aliases."""
    found = {route.alias for file in files for route in file.routes}
    for roster in rosters:
        found |= {container.container_name for container in roster.containers}
        found |= {route.alias for built in roster.built for route in built.routes}
    return sorted(found - {""})


def explain(name: str, rosters: Sequence[Roster], table: Table, files: Sequence[RouteFile] = ()) -> Explanation:
    """Explain a container or an alias.

    Args:
        name: of a container, ``engine/container``, an alias, or the beginning (12 letters or more) of a container's id.
        rosters: all engines.
        table: made of them, and of the files.
        files: the files of routes.

    """
    named, wanting = [], []
    claims: dict[str, list[Route]] = {}
    for route in _all_routes(rosters, files):
        claims.setdefault(route.alias, []).append(route)
    for roster in rosters:
        teller = _Explainer(roster, claims, table)
        for container, built in zip(roster.containers, roster.built, strict=True):
            if _is_called(container, name):
                named.append(teller.container(container, built, built.routes))
            else:
                mine = [route for route in built.routes if route.alias == name.lower()]
                if mine:
                    wanting.append(teller.container(container, built, mine))
    return Explanation(name, (*named, *wanting), tuple(_told_files(name.lower(), claims, table, files)))


def _all_routes(rosters: Iterable[Roster], files: Iterable[RouteFile]) -> Iterator[Route]:
    for file in files:
        yield from file.routes
    for roster in rosters:
        for built in roster.built:
            yield from built.routes


def _is_called(container: Container, name: str) -> bool:
    own = container.container_name
    if own and name in (own, f"{container.provider}/{own}"):
        return True
    return len(name) >= 12 and container.container_id.startswith(name)


class _Explainer:
    """Tells about the containers of one engine."""

    def __init__(self, roster: Roster, claims: Mapping[str, Sequence[Route]], table: Table) -> None:
        self.names = {container.container_id: container.container_name for container in roster.containers}
        self.claims = claims
        self.table = table

    def container(self, container: Container, built: Built, routes: Iterable[Route]) -> ContainerExplanation:
        tree = read_labels(container.labels, container.aliases, ROUTE)
        of_routes = {problem for route in built.routes for problem in route.problems}
        return ContainerExplanation(
            name=container.container_name,
            id=container.container_id,
            provider=container.provider,
            image=str(container.image),
            state=container.state,
            status=container.status,
            facts=container_facts(container, self.names),
            notes=tuple(_why_no_routes(container, built)),
            routes=tuple(self.route(container, route, tree) for route in routes),
            problems=tuple(problem for problem in built.problems if problem not in of_routes),
        )

    def route(self, container: Container, route: Route, tree: LabelTree) -> RouteExplanation:
        why = Reasons()
        infer(route.alias, container, route.settings, why)
        facts = tuple(_facts(container, route, tree, why))
        return _story(route, facts, remedy(container, route, why.port), self.claims, self.table)


def _story(
    route: Route, facts: tuple[Fact, ...], change: str, claims: Mapping[str, Sequence[Route]], table: Table
) -> RouteExplanation:
    """Tell about a route, with who else wants its alias; ``change`` is what would let an excluded one be served."""
    winner = table.routes.get(route.alias, route)
    has_it, reason = has_alias(route, winner), route.excluded_reason
    if not reason and not has_it:
        reason = f"the alias belongs to {_holder(winner, route)}"
        change = "when that goes, this one takes over by itself; or give one of them another alias"
    return RouteExplanation(
        alias=route.alias,
        target=route.target,
        served=not reason,
        reason=reason,
        remedy=change,
        facts=facts,
        notes=tuple(_notes(route, winner, claims, table)) if has_it else (),
        problems=route.problems,
        conflicts=tuple(p for p in table.faults.get(("", route.alias), ()) if _is_about(p, route)),
    )


def _holder(winner: Route, seen_from: Route) -> str:
    if not winner.is_static:
        return f"container {_whose(winner, seen_from)}, which is older"
    why = "which comes first by name" if seen_from.is_static else "and files come before containers"
    return f"the file {winner.provider}, {why}"


def _notes(route: Route, winner: Route, claims: Mapping[str, Sequence[Route]], table: Table) -> Iterator[str]:
    """Say who shares the alias of a route, and who would like to have it."""
    members = {endpoint.container_id for endpoint in winner.endpoints}
    if len(members) > 1:
        names = ", ".join(endpoint.container for endpoint in winner.endpoints)
        yield f"replicas of one compose service share it: {names}"
    for other in claims.get(route.alias, ()):
        if other.excluded or has_alias(other, winner):
            continue
        why = "it waits" if route.is_static else "it is newer and waits"
        yield f"{_whose(other, route)} wants this alias too; {why}"
    for endpoint in winner.endpoints:
        found = table.health_of(winner.alias).get(endpoint.address)
        if found is not None and endpoint.container_id == route.container_id:
            yield f"{endpoint.address} {found.remark}{_since(found)}"
    link = route.settings.load_balance.link
    if link and not route.excluded:
        pool = [alias for alias in table.pools().get(link, ()) if alias != route.alias]
        with_whom = f" with {', '.join(pool)}" if pool else ", so far alone"
        yield f"it shares the requests of pool {link}{with_whom}"


def _since(found: EndpointHealth) -> str:
    if found.state == "pending":
        return ""
    return f", since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(found.since))}"


def _told_files(
    alias: str, claims: Mapping[str, Sequence[Route]], table: Table, files: Iterable[RouteFile]
) -> Iterator[FileExplanation]:
    """Tell of an alias in the files where it is written."""
    for file in files:
        for route in (route for route in file.routes if route.alias == alias):
            facts = tuple(_file_facts(route, file))
            change = "mend the problems below" if route.excluded else ""
            yield FileExplanation(file.name, (_story(route, facts, change, claims, table),))


def _file_facts(route: Route, file: RouteFile) -> Iterator[Fact]:
    fields, why = file.fields.get(route.alias, {}), Reasons()
    infer_static(route.alias, route.settings, why)
    told = set()
    target = [("scheme", route.scheme, why.scheme)]
    if route.scheme != "fileserver":
        target += [("host", route.host, why.host), ("port", str(route.port.proxy), why.port)]
    for name, value, reason in target:
        leaf = fields.get(name)
        if leaf is not None and reason.startswith("set by the file"):
            told.add(name)
            yield Fact(name, value, "", _written(leaf, file.name))
        else:
            yield Fact(name, value, reason)
    if route.listen:
        yield Fact("listen", route.listen, "" if route.port.listening else _CHOSEN)
    if route.health_check:
        yield _health(route)
    spoilt = {problem.path for problem in route.problems if problem.severity == "error"}
    for path, leaf in _leaves(fields):
        if path.partition(".")[0] not in told and spoilt.isdisjoint(_stages(path)):
            yield _setting(path, leaf, (), file.name)


def _is_about(problem: Problem, route: Route) -> bool:
    return (problem.provider or problem.file, problem.container) == (route.provider, route.container)


def _whose(route: Route, seen_from: Route) -> str:
    """Return what a route's container is called from another's point of view."""
    if route.is_static:
        return f"the file {route.provider}"
    return route.container if route.provider == seen_from.provider else f"{route.provider}/{route.container}"


def _why_no_routes(container: Container, built: Built) -> Iterator[str]:
    if built.routes:
        return
    if container.errors:
        yield "it has no routes until the problems below are mended"
    elif not container.container_name:
        yield "it has no name, for it is being removed"
    else:
        yield (
            f"it has no routes: {container.provider} ends in '!', so only labelled containers count there; "
            f"any label of ours makes it count, e.g. proxy.aliases: {container.container_name}"
        )


# ---- the facts of a route ------------------------------------------------------------------------------------------

_BY_LABEL: Final = "set by a label"
_HIDDEN: Final = "<hidden>"
_CHOSEN: Final = "no listening port is given, so one is chosen"


def _facts(container: Container, route: Route, tree: LabelTree, why: Reasons) -> Iterator[Fact]:
    fields = tree.fields.get(route.alias, {})
    lost: dict[str, list[Source]] = {}
    for override in tree.overridden:
        if override.alias == route.alias:
            lost.setdefault(override.path, []).insert(0, _written(override.loser))
    if route.alias not in container.aliases:
        yield Fact("alias", route.alias, "the labels below name it; it is not among the container's own aliases")
    told = set()
    for path, fact in _target(container, route, fields, why):
        told.add(path)
        yield msgspec.structs.replace(fact, instead_of=tuple(lost.get(path, ()))) if fact.source else fact
    if route.listen:
        unset = "" if route.port.listening else _CHOSEN
        yield Fact("listen", route.listen, unset)
    if route.health_check:
        yield _health(route, container)
    spoilt = {(problem.label, problem.path) for problem in route.problems if problem.severity == "error"}
    for path, leaf in _leaves(fields):
        if path not in told and not any((leaf.source, part) in spoilt for part in _stages(path)):
            yield _setting(path, leaf, lost.get(path, ()))


def _target(container: Container, route: Route, fields: dict[str, Located], why: Reasons) -> Iterator[tuple[str, Fact]]:
    """Yield scheme, host and port with the path of the field that sets each, ``""`` where no label does."""
    found = [("scheme", route.scheme, why.scheme)]
    if route.scheme != "fileserver":
        found += [("host", route.host or "-", why.host), ("port", str(route.port.proxy), why.port)]
    for name, value, reason in found:
        leaf, path = fields.get(name), name
        if leaf is not None and isinstance(leaf.value, dict):
            leaf, path = leaf.value.get("proxy"), f"{name}.proxy"
        if leaf is not None and reason.startswith(_BY_LABEL):
            yield path, Fact(name, value, reason.removeprefix(_BY_LABEL).removeprefix("; "), _written(leaf))
        elif name == "host" and container.is_host_network_mode:
            yield "", Fact(name, value, "the engine's host, whose network the container uses")
        else:
            yield "", Fact(name, value, reason)


def _setting(path: str, leaf: Located, lost: Iterable[Source], file: str = "") -> Fact:
    written = _written(leaf, file)
    if holds_secret(path.split(".")):
        return Fact(path, _HIDDEN, "", msgspec.structs.replace(written, value=_HIDDEN))
    return Fact(path, written.value, "", written, tuple(lost))


def _stages(path: str) -> Iterator[str]:
    """Yield a dotted path and every path above it."""
    while path:
        yield path
        path = path.rpartition(".")[0]


def _health(route: Route, container: Container | None = None) -> Fact:
    if container is not None and container.docker_health:
        return Fact("health check", "the engine's own", f"it says {container.health}")
    check = route.settings.healthcheck
    how = f"{'GET' if check.use_get else 'HEAD'} {check.path}" if not route.is_stream else "a connection"
    value = f"{how} every {format_duration(check.interval)}"
    if "healthcheck" in route.labelled:
        why = "nobody probes udp" if route.scheme == "udp" else ""
    else:
        why = "defaults" if route.probed else "not probed: no label asks for it"
    return Fact("health check", value, why)


def _leaves(fields: dict[str, Located], prefix: str = "") -> Iterator[tuple[str, Located]]:
    """Yield every value that is no mapping with its dotted path, by path."""
    for name in sorted(fields):
        value, path = fields[name], f"{prefix}{name}"
        if isinstance(value.value, dict) and value.value:
            yield from _leaves(value.value, f"{path}.")
        else:
            yield path, value


def _written(value: Located, file: str = "") -> Source:
    return Source(_shown(value), value.source, value.line, value.column, file)


def _shown(value: Located) -> str:
    """Return a value as it would be written on one line."""
    plain: Any = bare(value)
    return shorten(plain if isinstance(plain, str) else msgspec.json.encode(plain).decode())
