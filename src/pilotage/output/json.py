"""Converts containers, routes and problems to plain data, for ``--format json`` and the HTTP API. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pilotage.containers.blacklist import is_blacklisted
from pilotage.containers.container import Container
from pilotage.containers.image import ContainerImage
from pilotage.core.gc import gc_paused
from pilotage.core.problems import Problem, Severity
from pilotage.core.secrets import SHOWN, redact
from pilotage.output.explain import Explanation
from pilotage.routes.json import route_json
from pilotage.routes.route import Route
from pilotage.table.diff import Change
from pilotage.table.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.labels.container_options import IdleConfig
    from pilotage.table.envoys import RouteState
    from pilotage.table.snapshot import EngineSnapshot

__all__ = [
    "ContainerJson",
    "ProblemJson",
    "change_json",
    "container_json",
    "describe_container",
    "describe_problem",
    "document",
    "pools_json",
    "problem_json",
    "problem_properties",
    "route_on_envoys",
    "to_json",
]


def to_json(
    value: Container | Route | Problem | Change | Explanation | Table, table: Table | None = None
) -> dict[str, Any]:
    """Return a value as plain data that :func:`json.dumps` accepts, as ``--format json`` and the HTTP API show it.

    Durations are seconds, in fields that end in ``_s``. A table has its routes by alias, its pools and its problems.

    Args:
        value: what to convert.
        table: the table that contains the route or change, for the results of the gateway's probes.

    Raises:
        TypeError: the value has none of these types.

    """
    table = table or Table()
    match value:
        case Route():
            return route_json(value, table.health_of(value.alias))
        case Container():
            return container_json(value)
        case Problem():
            return problem_json(value)
        case Change():
            return change_json(value, table)
        case Table():
            return _table_json(value)
        case Explanation():
            found: dict[str, Any] = msgspec.to_builtins(value)
            return found
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _table_json(table: Table) -> dict[str, Any]:
    known: dict[tuple[int, tuple[str, ...]], dict[str, Any]] = {}
    return {
        "routes": {
            route.alias: route_json(route, table.health_of(route.alias), known=known) for route in table.sorted_routes()
        },
        "pools": pools_json(table),
        "problems": [problem_json(problem) for problem in table.problems],
    }


def document(
    snapshots: Iterable[EngineSnapshot],
    table: Table,
    on_envoys: Mapping[str, Mapping[str, RouteState]] | None = None,
) -> dict[str, Any]:
    """Return ``{"containers": […], "routes": {alias: …}, "pools": {name: …}, "problems": […]}``.

    If ``on_envoys`` (alias -> node ID -> state of the route on this Envoy) is given, each route has a key ``envoys``.
    """
    containers = [container for snapshot in snapshots for container in snapshot.containers]
    with gc_paused(len(containers)):
        found = {"containers": list(map(container_json, containers)), **_table_json(table)}
    if on_envoys is not None:
        for alias, route in found["routes"].items():
            route["envoys"] = route_on_envoys(on_envoys.get(alias, {}))
    return found


def route_on_envoys(states: Mapping[str, RouteState]) -> dict[str, Any]:
    """Return the state of a route on each Envoy as plain data: node ID -> state and version."""
    return {node: msgspec.structs.asdict(state) for node, state in sorted(states.items())}


def pools_json(table: Table) -> dict[str, Any]:
    """Return pool -> members, the leader first. They answer under the pool's name, not their aliases."""
    return {name: {"members": list(members)} for name, members in table.pools().items()}


class MountJson(msgspec.Struct, frozen=True):
    """A mount of a container."""

    type: str
    source: str
    destination: str


class IdleJson(msgspec.Struct, frozen=True, kw_only=True):
    """How a container sleeps and wakes. Durations are seconds."""

    idle_timeout_s: float
    wake_timeout_s: float
    stop_method: str
    stop_timeout_s: float
    stop_signal: str
    start_endpoint: str
    depends_on: list[str]
    no_loading_page: bool


class ContainerJson(msgspec.Struct, frozen=True, kw_only=True):
    """A container.

    Attributes:
        name, id, provider: the container and its engine.
        aliases: the aliases that the container's labels list.
        explicit: whether pilotage serves only containers with its labels on this engine.
        excluded: whether a label excludes the container.
        running, state: the state of the container according to the engine.
        network: the network through which pilotage reaches the container.
        private_hostname, public_hostname: the container's address in this network, and the address of its published
            ports.
        blacklisted: whether the container is a database or another service that is not served without labels.
        image: the container's image.
        host_network_mode: whether the container uses the network of its host.
        docker_health: whether the container's image has a health check.
        public_ports: published port -> port of the container; 0 for none.
        private_ports: port of the container -> published port; 0 for none.
        mounts: the container's mounts.
        idlewatcher: how the container sleeps and wakes; null if it never sleeps.
        errors: the errors in the container's labels, as sentences.

    """

    name: str
    id: str
    provider: str
    aliases: list[str]
    explicit: bool
    excluded: bool
    running: bool
    state: str
    network: str
    private_hostname: str
    public_hostname: str
    blacklisted: bool
    image: ContainerImage
    host_network_mode: bool
    docker_health: bool
    public_ports: dict[str, int]
    private_ports: dict[str, int]
    mounts: list[MountJson]
    idlewatcher: IdleJson | None
    errors: list[str]


def container_json(container: Container) -> dict[str, Any]:
    """Return a container as plain data; see :class:`ContainerJson`."""
    found: dict[str, Any] = msgspec.to_builtins(describe_container(container))
    return found


def describe_container(container: Container) -> ContainerJson:
    """Return a container as the API and ``--format json`` show it."""
    ports = container.port_mapping
    return ContainerJson(
        name=container.container_name,
        id=container.container_id,
        provider=container.provider,
        aliases=list(container.aliases),
        explicit=container.is_explicit,
        excluded=container.is_excluded,
        running=container.running,
        state=container.state,
        network=redact(container.network, SHOWN),
        private_hostname=container.private_hostname,
        public_hostname=container.public_hostname,
        blacklisted=is_blacklisted(container),
        image=container.image,
        host_network_mode=container.is_host_network_mode,
        docker_health=container.docker_health,
        public_ports={str(number): entry.PrivatePort for number, entry in sorted(ports.public.items())},
        private_ports={str(number): entry.PublicPort for number, entry in sorted(ports.private.items())},
        mounts=[MountJson(mount.Type, mount.Source, mount.Destination) for mount in container.mounts],
        idlewatcher=_idle(container.idlewatcher_config),
        errors=[str(problem) for problem in container.errors],
    )


class ProblemJson(msgspec.Struct, frozen=True, kw_only=True):
    """A problem, and its place.

    Attributes:
        provider, container, route: the engine, the container and the route.
        label: key of the label, as written.
        path: dotted path of the setting inside the label or file, e.g. `healthcheck.interval`.
        line, column: position in the label's YAML or in the file, from 1; 0 if unknown.
        message: what is wrong, in one sentence without a full stop.
        hint: how to fix it; empty if there is no advice.
        severity: `error` if the value has no effect, `warning` if it may not do what was meant.
        value: the wrong value, shortened and without secrets.
        file: the file; empty for labels.

    """

    provider: str
    container: str
    route: str
    label: str
    path: str
    line: int
    column: int
    message: str
    hint: str
    severity: Severity
    value: str
    file: str


def problem_json(problem: Problem) -> dict[str, Any]:
    """Return a problem as plain data."""
    return msgspec.structs.asdict(describe_problem(problem))


def describe_problem(problem: Problem) -> ProblemJson:
    """Return a problem as the API and ``--format json`` show it."""
    return ProblemJson(**problem_properties(problem))


def problem_properties(problem: Problem) -> dict[str, Any]:
    """Return the attributes of a :class:`ProblemJson`."""
    shown = problem.shown
    return {name: getattr(shown, name) for name in ProblemJson.__struct_fields__}


def change_json(change: Change, table: Table) -> dict[str, Any]:
    """Return a change as plain data, with the current route or, if it was removed, its last state."""
    route = change.route
    return {
        "kind": change.kind,
        "alias": change.alias,
        "engine": change.engine,
        "fields": list(change.fields),
        "cause": change.cause,
        "route": None if route is None else route_json(route, table.health_of(change.alias)),
        "problem": None if change.problem is None else problem_json(change.problem),
    }


_SECONDS = ("idle_timeout", "wake_timeout", "stop_timeout")


def _idle(config: IdleConfig | None) -> IdleJson | None:
    if config is None:
        return None
    plain: dict[str, Any] = msgspec.to_builtins(config) | {"depends_on": list(config.depends_on)}
    return IdleJson(**{f"{name}_s" if name in _SECONDS else name: redact(it, SHOWN) for name, it in plain.items()})
