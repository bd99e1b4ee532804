"""Tracks which routes sleep and wake together (as a unit), and which cannot sleep. Pure."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, NamedTuple

from pilotage.core.index import Index
from pilotage.core.problems import Problem
from pilotage.sleep.state import Phase, SleepState
from pilotage.sleep.units import NEVER, Unit, container_key, members_of, running_endpoints, unit_key
from pilotage.xds.cluster_names import pool_gate
from pilotage.xds.middlewares import route_policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.containers.container import Container
    from pilotage.routes.route import Route
    from pilotage.sleep.state import Action
    from pilotage.sleep.units import Source, UnitKey

__all__ = ["Followed", "Registry"]

_NOT_ALLOWED: Final = "its containers do not sleep, because pilotage may not start and stop containers on this engine"

_SHORTEST_ID: Final = 4
"""Minimum length of an abbreviated container ID by which a unit can be found."""


class Followed(NamedTuple):
    """The actions required of the caller after a change to a route.

    Attributes:
        unit: the unit of the route; ``None`` if its containers do not sleep.
        action: the action to start for the unit; ``None`` if there is nothing to start.
        is_changed: whether the unit's state must be published to the gateway.
        left: the unit that the route has left; ``None`` if the route was in no unit or has stayed in its unit.
        again: aliases of routes to follow again, because this change may decide whether they sleep: the changed route
            uses them for forwardauth, or is in a pool with them.

    """

    unit: Unit | None = None
    action: Action | None = None
    is_changed: bool = False
    left: Unit | None = None
    again: tuple[str, ...] = ()


class Registry:
    """The units of all routes.

    Attributes:
        units: key -> unit.
        refused: alias -> a problem that says why its containers do not sleep although they have an idle timeout.

    Args:
        source: routes and containers.
        may_act: returns whether containers of an engine may be started and stopped.
        next_epoch: returns a number that no running Envoy can have seen.
        udp: whether datagrams can be queued while containers sleep.

    """

    def __init__(
        self,
        source: Source,
        may_act: Callable[[str], bool],
        next_epoch: Callable[[], int],
        *,
        udp: bool = False,
    ) -> None:
        self.units: dict[UnitKey, Unit] = {}
        self.refused: dict[str, Problem] = {}
        self._source = source
        self._may_act = may_act
        self._next_epoch = next_epoch
        self._takes_datagrams = udp
        self._of_alias: dict[str, Unit] = {}
        self._restless: dict[str, str] = {}  # alias whose containers never sleep -> its pool
        self._restless_in: Index[str, str] = Index()
        self._auth: dict[str, str] = {}  # alias -> the route that it uses for forwardauth
        self._auth_users: Index[str, str] = Index()

    def unit(self, alias: str) -> Unit | None:
        """Return the unit of an alias or of a pool (:func:`pool_gate`); ``None`` if its containers do not sleep."""
        return self._of_alias.get(alias)

    def find(self, name: str) -> Unit | None:
        """Find a unit by alias, pool, container name or (short) container ID; ``None`` unless exactly one matches."""
        found = self._of_alias.get(name) or self._of_alias.get(pool_gate(name))
        if found is not None:
            return found
        long_enough = len(name) >= _SHORTEST_ID
        units = self.units.values()
        matches = [it for it in units if it.name == name or (long_enough and it.container_id.startswith(name))]
        return matches[0] if len(matches) == 1 else None

    def follow(self, alias: str, now: float) -> Followed:
        """Update the units after a route was added, changed or removed; return what the caller must do.

        Args:
            alias: alias of the route.
            now: the time of the monotonic clock.

        """
        route = self._source.table.routes.get(alias)
        container = self._source.container(*container_key(route)) if route is not None else None
        key, unit = unit_key(route, container, self._source), self._of_alias.get(alias)
        again = self._follow_auth(alias, route)
        obstacle = self._obstacle(route) if route is not None and key is not None else None
        again += self._follow_pool(alias, route if key is None or obstacle is not None else None)
        self.refused.pop(alias, None)
        if route is not None and key is not None and obstacle is None:
            obstacle = self._restless_partner(route)
        if route is not None and obstacle is not None:
            self.refused[alias] = _refusal(route, *obstacle)
        if route is None or container is None or key is None or obstacle is not None:
            return Followed(left=self._leave(alias, unit), again=again)
        left = self._leave(alias, unit) if unit is not None and unit.key != key else None
        unit = self._of_alias.get(alias)
        is_new = unit is None
        if unit is None:
            unit = self._joined(key, alias) or self._new_unit(key, container, running=bool(route.endpoints), now=now)
            unit.pool = route.pool
            unit.aliases.add(alias)
            self.units[key] = self._of_alias[alias] = unit
            if unit.pool:
                self._of_alias[pool_gate(unit.pool)] = unit
        self._describe(unit, container)
        running = bool(route.endpoints)
        if not running and unit.state.phase in (Phase.READY, Phase.QUIESCING):  # perhaps under another alias
            running = bool(running_endpoints(unit, self._source.table))
        before = unit.state.epoch
        action = unit.state.observe(running=running, now=now)
        if unit.state.epoch != before:
            unit.busy = (*unit.busy, before)
        is_changed = action is not None or is_new or unit.state.phase is not unit.shown
        return Followed(unit, action, is_changed, left, again)

    def _describe(self, unit: Unit, container: Container) -> None:
        """Take a unit's name and settings from a container; in a pool, from the pool's oldest container instead."""
        if unit.pool:
            container = next(iter(members_of(unit, self._source)), container)
        unit.engine, unit.container_id, unit.name = container.provider, container.container_id, container.container_name
        if container.idlewatcher_config is not None:
            unit.config = container.idlewatcher_config
            unit.state.idle_timeout = unit.config.idle_timeout

    def _follow_pool(self, alias: str, route: Route | None) -> tuple[str, ...]:
        """Record whether a route's containers never sleep, because then its pool does not sleep either.

        Args:
            alias: alias of the route.
            route: the route; ``None`` if its containers may sleep.

        Returns:
            Aliases of the other routes in the old and the new pool, because this may change whether they can sleep.

        """
        pool, before = route.pool if route is not None else "", self._restless.pop(alias, "")
        if before:
            self._restless_in.discard(before, alias)
        if pool:
            self._restless[alias] = pool
            self._restless_in.add(pool, alias)
        if pool == before:
            return ()
        members = self._source.table.pool_members
        return tuple(it for name in (before, pool) if name for it in members.get(name, ()) if it not in self._restless)

    def _follow_auth(self, alias: str, route: Route | None) -> tuple[str, ...]:
        auth = route_policy(route.middlewares).auth if route is not None and not route.excluded else None
        needed = auth.route if auth is not None else ""
        before = self._auth.get(alias, "")
        if before == needed:
            return ()
        if before:
            del self._auth[alias]
            self._auth_users.discard(before, alias)
        if needed:
            self._auth[alias] = needed
            self._auth_users.add(needed, alias)
        return tuple(name for name in (before, needed) if name)

    def _leave(self, alias: str, unit: Unit | None) -> Unit | None:
        if unit is None:
            return None
        del self._of_alias[alias]
        unit.aliases.discard(alias)
        unit.left.add(alias)
        if not unit.aliases:
            del self.units[unit.key]
            self._of_alias.pop(pool_gate(unit.pool), None)
        return unit

    def _obstacle(self, route: Route) -> tuple[str, str] | None:
        """Return why a route's containers cannot be put to sleep, and a hint; ``None`` if nothing prevents it."""
        engine, container_id = container_key(route)
        if not self._may_act(engine):
            return _NOT_ALLOWED, f"set idle: true for the engine {engine}"
        if users := self._auth_users[route.alias]:
            message = f"its containers do not sleep, because the route {min(users)!r} uses this route for forwardauth"
            return message, "remove proxy.idle_timeout"
        siblings = (it.alias for it in self._source.routes_of(engine, container_id))
        served = [it for alias in siblings if (it := self._source.table.routes.get(alias)) is not None]
        if len({it.pool for it in served if it.container_id == container_id and not it.excluded}) > 1:
            message = "its containers do not sleep, because its routes are not all in the same pool"
            return message, "give all its aliases the same load_balance.link, or none"
        if route.scheme == "udp" and (route.pool or not self._takes_datagrams):
            why = "a pool of udp routes" if route.pool else "a udp route behind an Envoy not run by pilotage"
            return f"its containers do not sleep, because a datagram cannot wake {why}", "remove proxy.idle_timeout"
        return None

    def _restless_partner(self, route: Route) -> tuple[str, str] | None:
        others = self._restless_in[route.pool]
        if not others:
            return None
        message = f"its containers do not sleep, because those of {min(others)!r} in the pool {route.pool!r} do not"
        return message, f"set proxy.idle_timeout on the containers of {min(others)} as well"

    def _joined(self, key: UnitKey, alias: str) -> Unit | None:
        """Return the unit with a key; ``None`` if there is none. If the alias had left the unit, begin a new epoch."""
        unit = self.units.get(key)
        if unit is not None and alias in unit.left:
            unit.left.discard(alias)
            before = unit.state.epoch
            unit.state.renew()
            unit.take_over(before)
        return unit

    def _new_unit(self, key: UnitKey, container: Container, *, running: bool, now: float) -> Unit:
        config = container.idlewatcher_config or NEVER
        state = SleepState(
            config.idle_timeout, running=running, now=now, next_epoch=self._next_epoch, spread=random.random
        )
        return Unit(key, container.provider, container.container_id, container.container_name, config, state, set())


def _refusal(route: Route, message: str, hint: str) -> Problem:
    concerns_engine = message == _NOT_ALLOWED
    return Problem(
        message=message,
        hint=hint,
        severity="warning",
        provider=container_key(route)[0],
        container="" if concerns_engine else route.container,
        label="" if concerns_engine else "proxy.idle_timeout",
    )
