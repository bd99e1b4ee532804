"""Compares the route table with the table that it would become if Compose files were applied. Pure.

Only containers of the same project on the same engine are replaced. A container whose labels, image and ports stay the
same is kept. Any other keeps what only a running container can show: its addresses, networks and exposed ports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.containers import Container
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.labels import is_own
from pilotage.labels.container_options import IdleConfig
from pilotage.routes.build import Built, RouteBuilder
from pilotage.routes.reach import nowhere
from pilotage.routes.schema import RouteSettings
from pilotage.table import EngineStatus, RouteStore, holder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pilotage.engine.types import Port
    from pilotage.output.view import View
    from pilotage.policy import Policy
    from pilotage.routes.route import Route
    from pilotage.table import EngineSnapshot, Table

__all__ = ["UNKNOWN", "Plan", "PlannedChange", "PlannedProject", "PlannedService", "make_plan"]

UNKNOWN: Final = "the ports and labels of new images, the networks and addresses of new containers, and their health"
"""What a plan cannot take into account."""


class PlannedService(msgspec.Struct, frozen=True):
    """A service of a Compose file.

    Attributes:
        container: its first container, with an assumed address, and port 80 as its only exposed port.
        has_all_ports: whether all ports that it publishes are known.
        starts: whether ``docker compose up`` starts it: it has no profile, or an enabled one.
        replicas: number of its containers; ``None`` if the file does not say.

    """

    container: Container
    has_all_ports: bool = True
    starts: bool = True
    replicas: int | None = None


class PlannedProject(msgspec.Struct, frozen=True):
    """A Compose project, as its files describe it.

    Attributes:
        name: name of the project.
        files: the names of its files.
        services: name -> service.
        problems: the problems with the files.

    """

    name: str
    files: tuple[str, ...]
    services: dict[str, PlannedService]
    problems: tuple[Problem, ...] = ()


class PlannedChange(msgspec.Struct, frozen=True):
    """What would happen to one name.

    Attributes:
        kind: ``new``, ``changed``, ``moved`` if another service or container takes the name, or ``lost``.
        name: the alias, or the name of a pool.
        before: the container or file that serves the name now; ``""`` for a new name.
        after: the container or file that would serve it; ``""`` for a lost name.
        fields: names of the fields that change, for ``changed``.
        reason: why the name is lost; ``""`` otherwise.
        port: the target's port, for ``new``; 0 if it is not known before the container runs.

    """

    kind: str
    name: str
    before: str = ""
    after: str = ""
    fields: tuple[str, ...] = ()
    reason: str = ""
    port: int = 0


class Plan(msgspec.Struct, frozen=True):
    """The result of a comparison.

    Attributes:
        engines: project -> name of the engine on which it is applied.
        changes: the changes, by kind and name.
        conflicts: a problem for each container that would not get a name, because another container has it.
        problems: the problems with the files.
        removed: containers of services that the files do not define or start. Without ``--remove-orphans``, Compose
            does not stop those of undefined services.

    """

    engines: dict[str, str]
    changes: tuple[PlannedChange, ...]
    conflicts: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    removed: tuple[str, ...]

    def of_kind(self, kind: str) -> tuple[PlannedChange, ...]:
        """Return the changes of one kind."""
        return tuple(change for change in self.changes if change.kind == kind)


def make_plan(
    view: View,
    projects: Iterable[PlannedProject],
    *,
    policy: Policy,
    reserved_ports: frozenset[int],
    now: int,
    engine: str = "",
    is_local: Callable[[str], bool] = nowhere,
) -> Plan:
    """Compare the current table with the table after the projects are applied.

    Args:
        view: the engines and their containers, the route files and the current table.
        projects: the projects.
        policy: what containers may claim.
        reserved_ports: ports on the gateway's host that belong to the proxy.
        now: the time at which re-created containers are created, in seconds since 1970.
        engine: name of the engine for all projects; ``""`` for the one that runs the project, or the only one.
        is_local: whether an address belongs to this machine and is not loopback.

    Raises:
        ConfigError: no engine has this name, or none is named and several are possible.

    """
    projects = tuple(projects)
    store = _store(view, policy)
    before = store.table
    builder = RouteBuilder(policy=policy, reserved_ports=reserved_ports, is_local=is_local)
    engines: dict[str, str] = {}
    idle: dict[tuple[str, str], tuple[IdleConfig | None, IdleConfig | None]] = {}
    names: set[str] = set()
    removed: list[str] = []
    for project in projects:
        snapshot = _engine_of(project, view.snapshots, engine)
        name = engines[project.name] = snapshot.config.name
        running = [it for it in snapshot.containers if it.compose_project == project.name and not it.is_oneoff]
        for old, new in _replaced(project, snapshot, running, now):
            one = new or old
            if one is None:
                continue
            if new is None:
                removed.append(one.container_name)
            else:
                names.add(new.container_name)
            if new is not old:
                store.set_routes((name, one.container_id), builder.build(new) if new is not None else None)
                idle[name, one.container_id] = (_idle(old), _idle(new))
    after = store.commit().table
    order = ("new", "changed", "moved", "lost")
    changes = sorted(_changes(before, after, idle), key=lambda it: (order.index(it.kind), it.name))
    known = set(before.problems)
    conflicts = (
        problem
        for (whose, _), found in sorted(after.problems_by_key.items())
        for problem in found
        if not whose and (problem not in known or problem.container in names)
    )
    problems = tuple(problem for project in projects for problem in project.problems)
    return Plan(engines, tuple(changes), tuple(conflicts), problems, tuple(removed))


def _idle(container: Container | None) -> IdleConfig | None:
    return container.idlewatcher_config if container is not None else None


def _store(view: View, policy: Policy) -> RouteStore:
    """Return a store with the routes of a view, in which every name has its current holder."""
    store = RouteStore()
    for file in view.files:
        store.set_problems((file.name, ""), file.problems)
        for route in file.routes:
            store.set_routes((file.name, route.alias), Built((route,), route.problems))
    store.configure(engines=view.table.engine_order or [it.config.name for it in view.snapshots], policy=policy)
    current = {alias: holder_of(route) for alias, route in view.table.routes.items()}
    for snapshot in view.snapshots:
        store.set_engine(snapshot.config.name, EngineStatus("live"))
    for holders_only in (True, False):
        for snapshot in view.snapshots:
            for container, built in zip(snapshot.containers, snapshot.built, strict=True):
                held = tuple(it for it in built.routes if current.get(it.alias) == holder_of(it))
                given = msgspec.structs.replace(built, routes=held) if holders_only else built
                store.set_routes((snapshot.config.name, container.container_id), given)
        store.commit()
        store.keep_holders()
    return store


def _engine_of(project: PlannedProject, snapshots: Iterable[EngineSnapshot], chosen: str) -> EngineSnapshot:
    by_name = {snapshot.config.name: snapshot for snapshot in snapshots}
    names = ", ".join(by_name)
    if chosen:
        if chosen not in by_name:
            raise ConfigError([Problem(message=f"there is no engine {chosen!r}", hint=f"the engines are {names}")])
        return by_name[chosen]
    found = [it for it in by_name.values() if any(c.compose_project == project.name for c in it.containers)]
    found = found or list(by_name.values())
    if len(found) != 1:
        message = f"the project {project.name!r} can run on several engines"
        raise ConfigError([Problem(message=message, hint=f"choose one with --on: {names}", file=project.files[0])])
    return found[0]


def _replaced(
    project: PlannedProject, snapshot: EngineSnapshot, running: Iterable[Container], now: int
) -> Iterator[tuple[Container | None, Container | None]]:
    """Yield the container of a project before and after. It is the same object if Compose would keep it."""
    kept: dict[str, int] = {}
    for old in running:
        service = project.services.get(old.compose_service)
        number = kept[old.compose_service] = kept.get(old.compose_service, 0) + 1
        if service is None or (service.replicas is not None and number > service.replicas):
            yield old, None
        else:
            yield old, _next(old, service, now, f"{project.name}-{old.compose_service}-1")
    for name, service in project.services.items():
        if name not in kept and service.starts and service.replicas != 0:
            new = service.container
            container_id = f"{project.name}/{name}"
            yield None, _replace(new, docker_cfg=snapshot.config, container_id=container_id, created=now)


_replace = msgspec.structs.replace


def _next(old: Container, service: PlannedService, now: int, default_name: str) -> Container:
    """Return the container that would replace another one, or the same one if Compose would keep it.

    Args:
        old: the container.
        service: its service in the file.
        now: the time at which it would be created.
        default_name: the name that the file's first container has if the file gives it none.

    """
    new = service.container
    name = old.container_name if new.container_name == default_name else new.container_name
    ports = _ports(old.ports, new.ports) if service.has_all_ports else old.ports
    is_same_image = old.image_reference in (new.image_reference, "") or old.image_reference.startswith("sha256:")
    is_on_host = new.is_host_network_mode
    own = [{key: text for key, text in it.actual_labels.items() if is_own(key)} for it in (old, new)]
    is_same = own[0] == own[1] and is_same_image and ports == old.ports and is_on_host == old.is_host_network_mode
    if is_same and name == old.container_name and (old.running or old.idles):
        return old
    seen = ("network", "networks", "private_hostname", "public_hostname", "network_mode", "host_ports", "ports_unknown")
    known = {name: getattr(old, name) for name in (*seen, "unreachable", "mounts", "health")}
    if not old.running or is_on_host != old.is_host_network_mode:
        known = {"mounts": old.mounts}
    return _replace(
        new,
        **known,
        docker_cfg=old.docker_cfg,
        container_id=old.container_id,
        container_name=name,
        created=now,
        ports=ports,
        depends_on=new.depends_on or old.depends_on,
        agent=old.agent,
        image_reference=old.image_reference if is_same_image else new.image_reference,
        image_id=old.image_id if is_same_image else "",
    )


def _ports(old: tuple[Port, ...], new: tuple[Port, ...]) -> tuple[Port, ...]:
    """Return the ports of a container after a change of the ports that it publishes."""
    published = [{(it.PublicPort, it.PrivatePort, it.Type) for it in ports if it.PublicPort} for ports in (old, new)]
    if published[0] == published[1]:
        return old
    exposed = {(it.PrivatePort, it.Type): _replace(it, PublicPort=0, IP="") for it in old}
    return (*(it for it in new if it.PublicPort), *exposed.values())


# ---- what clients would see


def _served(table: Table) -> dict[str, Route]:
    """Return each name that requests can use, and its route; for a pool, that of its leader."""
    found = {alias: route for alias, route in table.routes.items() if not route.excluded and not route.pool}
    pools = {name: table.routes[members[0]] for name, members in table.pool_members.items() if members}
    return found | pools


def _changes(
    before: Table,
    after: Table,
    idle: Mapping[tuple[str, str], tuple[IdleConfig | None, IdleConfig | None]],
) -> Iterator[PlannedChange]:
    was, becomes = _served(before), _served(after)
    for name in was.keys() | becomes.keys():
        old, new = was.get(name), becomes.get(name)
        if old is None and new is not None:
            yield PlannedChange("new", name, after=_server(new), port=_known_port(new))
        elif new is None and old is not None:
            yield PlannedChange("lost", name, before=_server(old), reason=_why_lost(name, after))
        elif old is not None and new is not None and old is not new:
            if holder_of(old) != holder_of(new):
                yield PlannedChange("moved", name, _server(old), _server(new))
            elif fields := _fields(old, new, *idle.get((new.provider, new.container_id), (None, None))):
                yield PlannedChange("changed", name, _server(old), _server(new), fields)


def _server(route: Route) -> str:
    return f"{route.provider}/{route.container}" if route.container else route.provider


def _known_port(route: Route) -> int:
    return route.port.proxy if "port" in route.labelled else 0


def _fields(old: Route, new: Route, idle_before: IdleConfig | None, idle_after: IdleConfig | None) -> tuple[str, ...]:
    fields = [name for name in RouteSettings.__struct_fields__ if _differ(old.settings, new.settings, name)]
    others = ("port", "scheme", "host", "bind", "filled_in", "folders", "agent", "idle_watcher")
    fields += [name for name in others if _differ(old, new, name)]
    if idle_before != idle_after:
        fields += [name for name in IdleConfig.__struct_fields__ if _differ(idle_before, idle_after, name)]
    names = {"filled_in": "middlewares", "idle_watcher": "idle_timeout"}
    return tuple(dict.fromkeys(names.get(name, name) for name in fields))


def _differ(old: object, new: object, name: str) -> bool:
    return bool(getattr(old, name, None) != getattr(new, name, None))


def _why_lost(name: str, after: Table) -> str:
    route = after.routes.get(name)
    if route is None:
        return "no container claims it any more"
    if route.pool:
        return f"it joins the pool {route.pool} and answers under that name"
    errors = [problem.shown.message for problem in route.problems if problem.refused or problem.severity == "error"]
    return errors[0] if errors else f"{_server(route)} is not served: {route.excluded_reason}"
