"""Groups routes and containers that sleep and wake together. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec

from pilotage.labels.container_options import IdleConfig
from pilotage.sleep.state import Phase, SleepState
from pilotage.xds.cluster_names import epoch_cluster, pool_gate
from pilotage.xds.clusters import GRPC_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from pilotage.containers.container import Container
    from pilotage.routes.gate import Gate
    from pilotage.routes.route import Endpoint, Route
    from pilotage.table.table import Table
    from pilotage.xds.resources import Key

__all__ = [
    "NEVER",
    "GateKeeper",
    "Source",
    "Unit",
    "UnitKey",
    "by_engine",
    "container_key",
    "may_sleep",
    "members_of",
    "running_endpoints",
    "start_path",
    "unit_key",
]

_MOST_EPOCHS: Final = 8
"""Maximum number of earlier epochs of a unit. Envoys that were connected to other control planes could report any
number."""

UnitKey = tuple[str, ...]
"""``(engine, project, service)`` for replicas, ``(engine, container ID)`` for one container, ``("", "", pool)``."""

NEVER: Final = IdleConfig(idle_timeout=0.0)


class Source(Protocol):
    """Provides the current routes and containers."""

    @property
    def table(self) -> Table:
        """The current route table."""

    def container(self, engine: str, container_id: str) -> Container | None:
        """Return a container of an engine; ``None`` if it does not exist."""

    def containers_of(self, engine: str) -> Iterable[Container]:
        """Return all containers of an engine in any order."""

    def routes_of(self, engine: str, container_id: str) -> Iterable[Route]:
        """Return the routes of a container, including excluded ones."""


class GateKeeper(Protocol):
    """The gateway, which lets requests to containers pass, wait or be rejected."""

    def set_gate(self, name: str, gate: Gate | None) -> frozenset[Key]:
        """Let the requests of a route or pool pass, wait or be rejected.

        Args:
            name: alias of the route, or the result of :func:`~pilotage.xds.cluster_names.pool_gate`.
            gate: whether requests pass, wait or are rejected; ``None`` if the containers never sleep.

        Returns:
            The keys of the changed resources, for :meth:`wait_for_acks`.

        """

    def next_epoch(self) -> int:
        """Return a number that no Envoy has seen in the name of a cluster."""

    @property
    def wait_for_acks(self) -> Callable[[Iterable[Key]], Awaitable[None]]:
        """A function that waits until all Envoys have accepted the given changes."""


class Unit(msgspec.Struct, eq=False):
    """The containers that sleep and wake together.

    Attributes:
        key: identifies the unit.
        engine: name of their engine.
        container_id: ID of the oldest container.
        name: name of the oldest container.
        config: how they sleep and wake, from their labels.
        state: whether they are awake.
        aliases: aliases of their routes.
        left: aliases that used to belong to this unit.
        pool: the name of their pool; ``""`` if they are in none.
        step: the current step of waking them, as readable text; ``""`` if they are not waking.
        done: the finished steps of the current or last attempt to wake them.
        unstarted: name of a container that this attempt could not start, although it started other containers -> why.
        busy: earlier epochs (numbers of sleeps) whose clusters may still have requests in progress.
        waiting: earlier epochs for whose clusters requests may wait.
        silent: the Envoys that kept them awake at the last check, because they had missed several reports.
        shown: the phase that was last published to the gateway.
        scheduled: when the unit is checked next; ``None`` if no check is scheduled.
        task: the task that is waking or stopping them; ``None`` if there is none.

    """

    key: UnitKey
    engine: str
    container_id: str
    name: str
    config: IdleConfig
    state: SleepState
    aliases: set[str]
    left: set[str] = msgspec.field(default_factory=set)
    pool: str = ""
    step: str = ""
    done: tuple[str, ...] = ()
    unstarted: dict[str, str] = {}
    busy: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    silent: tuple[str, ...] = ()
    shown: Phase | None = None
    scheduled: float | None = None
    task: Any = None

    @property
    def gate(self) -> Gate:
        """Whether requests to these containers pass, wait or are rejected."""
        return msgspec.structs.replace(
            self.state.gate,
            busy=self.busy,
            waiting=self.waiting,
            page=not self.config.no_loading_page,
            start_path=start_path(self.config.start_endpoint),
        )

    def begin_sleep(self, before: int) -> None:
        """Record that requests of epoch ``before`` and of the waiting epochs may still be in progress."""
        self.busy, self.waiting = (*self.busy, *self.waiting, before), ()

    def take_over(self, epoch: int) -> bool:
        """Add an epoch in which an Envoy has requests. Return ``False`` if the unit already has this epoch."""
        current = self.state.epoch
        if epoch in (current, *self.busy, *self.waiting):
            return False
        found: tuple[int, ...] = (epoch,)
        if epoch > current:  # an Envoy may also have seen the current one, and lost it
            self.state.renew()
            found = (current, epoch)
        if self.state.phase is Phase.READY:
            self.busy = (*self.busy, *found)[-_MOST_EPOCHS:]
        else:
            self.waiting = (*self.waiting, *found)[-_MOST_EPOCHS:]
        return True

    @property
    def gates(self) -> list[str]:
        """The names for :meth:`GateKeeper.set_gate`: their pool's name, or their aliases if they are in no pool."""
        return [pool_gate(self.pool)] if self.pool else sorted(self.aliases)

    def clusters(self, epoch: int) -> list[str]:
        """Return the names of their clusters in one epoch, including those for gRPC."""
        return [epoch_cluster(gate, epoch) + suffix for gate in self.gates for suffix in ("", GRPC_SUFFIX)]


def may_sleep(container: Container | None) -> bool:
    """Return whether labels let a container sleep, by its own idle timeout or with the containers that need it."""
    config = container.idlewatcher_config if container is not None else None
    return config is not None and config.idle_timeout != 0


def container_key(route: Route) -> tuple[str, str]:
    """Return the engine and the ID of the container with which a route sleeps and wakes."""
    engine, container_id = route.sleeps_with or (route.provider, route.container_id)
    return engine, container_id


def unit_key(route: Route | None, container: Container | None, source: Source) -> UnitKey | None:
    """Return the key of the unit to which a route belongs; ``None`` if its containers do not sleep."""
    if route is None or route.excluded or not may_sleep(container):
        return None
    return ("", "", route.pool) if route.pool else _members_key(route, source)


def _members_key(route: Route, source: Source) -> UnitKey:
    """Return the unit key of a route without a pool. A route from a file gets the key of the container it wakes."""
    if not route.sleeps_with:
        return route.service or container_key(route)
    services = (it.service for it in source.routes_of(*route.sleeps_with) if it.service)
    return next(services, route.sleeps_with)


def start_path(endpoint: str) -> str:
    """Return the path in a ``start_endpoint``, which may be a URL; ``""`` if every path wakes the containers."""
    if endpoint in ("", "*"):
        return ""
    return endpoint if endpoint.startswith("/") else urlsplit(endpoint).path or "/"


def members_of(unit: Unit, source: Source) -> list[Container]:
    """Return the containers of a unit, oldest first. Containers created in the same second are sorted by name."""
    keys = {unit.key}
    if unit.pool:
        routes = [source.table.routes.get(alias) for alias in unit.aliases]
        keys = {_members_key(route, source) for route in routes if route is not None}
    found = {it.container_id: it for key in keys for it in _containers(key, source)}
    return sorted(found.values(), key=lambda it: (it.created, it.container_name, it.container_id))


def _containers(key: UnitKey, source: Source) -> list[Container]:
    if len(key) == 2:  # see UnitKey
        found = source.container(*key)
        return [found] if found is not None and may_sleep(found) else []
    engine, project, service = key
    return [
        it
        for it in source.containers_of(engine)
        if may_sleep(it) and (it.compose_project, it.compose_service) == (project, service) and not it.is_oneoff
    ]


def by_engine(containers: Iterable[Container]) -> dict[str, list[Container]]:
    """Return name of an engine -> those of the given containers that run on it."""
    found: dict[str, list[Container]] = {}
    for container in containers:
        found.setdefault(container.provider, []).append(container)
    return found


def running_endpoints(unit: Unit, table: Table) -> list[tuple[Route, Endpoint]]:
    """Return all endpoints that the table has for a unit's routes, each with its route."""
    routes = [route for alias in sorted(unit.aliases) if (route := table.routes.get(alias)) is not None]
    return [(route, endpoint) for route in routes for endpoint in route.endpoints]
