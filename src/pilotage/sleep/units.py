"""Groups routes and containers that sleep and wake together. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec

from pilotage.labels.container_options import IdleConfig
from pilotage.sleep.state import Phase, SleepState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.containers.container import Container
    from pilotage.routes.route import Endpoint, Route
    from pilotage.table.table import Table

__all__ = ["Source", "Unit", "UnitKey", "members_of", "running_endpoints", "start_path", "unit_key"]

_MOST_EPOCHS: Final = 8
"""Maximum number of earlier epochs of a unit, in case Envoys connect that other control planes have served."""

UnitKey = tuple[str, ...]
"""``(engine, project, service)`` for replicas, ``(engine, container ID)`` for a single container."""


class Source(Protocol):
    """What is known about routes and containers, kept current by somebody else."""

    @property
    def table(self) -> Table:
        """The current table."""

    def container(self, engine: str, container_id: str) -> Container | None:
        """Return a container of an engine; ``None`` if it does not exist."""

    def containers_of(self, engine: str) -> Iterable[Container]:
        """Return all containers of an engine in any order."""

    def routes_of(self, engine: str, container_id: str) -> Iterable[Route]:
        """Return the routes of a container, including excluded ones."""


class Unit(msgspec.Struct, eq=False):
    """The containers that sleep and wake together.

    Attributes:
        key: identifies them.
        engine: name of their engine.
        container_id: ID of the oldest of them.
        name: name of the oldest of them.
        config: how they sleep and wake.
        state: whether they are awake.
        aliases: their routes.
        left: aliases that have been theirs.
        step: what is being done now, as text for people; ``""`` if nothing is.
        done: the steps of the current or last attempt to wake them that are finished.
        busy: earlier epochs whose clusters may still have requests in progress.
        waiting: earlier epochs that requests may wait for.
        shown: the phase that the gateway knows.
        scheduled: when it is looked at next; ``None`` if that is not planned.
        task: the task that does something with them now; ``None`` if there is none.

    """

    key: UnitKey
    engine: str
    container_id: str
    name: str
    config: IdleConfig
    state: SleepState
    aliases: set[str]
    left: set[str] = msgspec.field(default_factory=set)
    step: str = ""
    done: tuple[str, ...] = ()
    busy: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    shown: Phase | None = None
    scheduled: float | None = None
    task: Any = None

    def begin_sleep(self, before: int) -> None:
        """Record that new requests wait, and that those of an epoch may still be in progress."""
        self.busy, self.waiting = (*self.busy, *self.waiting, before), ()

    def take_over(self, epoch: int) -> bool:
        """Add an epoch in which an Envoy has requests. Return whether it is new."""
        current = self.state.epoch
        if epoch in (current, *self.busy, *self.waiting):
            return False
        found: tuple[int, ...] = (epoch,)
        if epoch > current:  # an Envoy may have seen the current one, too, and lost it
            self.state.renew()
            found = (current, epoch)
        if self.state.phase is Phase.READY:
            self.busy = (*self.busy, *found)[-_MOST_EPOCHS:]
        else:
            self.waiting = (*self.waiting, *found)[-_MOST_EPOCHS:]
        return True


def unit_key(route: Route | None) -> UnitKey | None:
    """Return the unit of a route; ``None`` if its containers do not sleep."""
    if route is None or route.excluded or not route.idle_watcher or route.is_static:
        return None
    return route.service or (route.provider, route.container_id)


def start_path(endpoint: str) -> str:
    """Return the path that a ``start_endpoint`` names, which may be a URL; ``""`` if any path wakes."""
    if endpoint in ("", "*"):
        return ""
    return endpoint if endpoint.startswith("/") else urlsplit(endpoint).path or "/"


def members_of(unit: Unit, source: Source) -> list[Container]:
    """Return the containers of a unit, the oldest first."""
    if len(unit.key) == 2:  # see UnitKey
        found = source.container(unit.engine, unit.container_id)
        return [found] if found is not None else []
    _, project, service = unit.key
    replicas = [
        it
        for it in source.containers_of(unit.engine)
        if it.idles and (it.compose_project, it.compose_service) == (project, service) and not it.is_oneoff
    ]
    return sorted(replicas, key=lambda it: (it.created, it.container_id))


def running_endpoints(unit: Unit, table: Table) -> list[tuple[Route, Endpoint]]:
    """Return the endpoints of a unit, each with its route."""
    routes = [route for alias in sorted(unit.aliases) if (route := table.routes.get(alias)) is not None]
    return [(route, endpoint) for route in routes for endpoint in route.endpoints]
