"""Knows which routes belong to which unit, and which containers cannot sleep. Pure: it follows the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pilotage.core.problems import Problem
from pilotage.sleep.state import Phase, SleepState
from pilotage.sleep.units import Unit, running_endpoints, unit_key
from pilotage.xds.middlewares import route_policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.containers.container import Container
    from pilotage.labels.container_options import IdleConfig
    from pilotage.routes.route import Route
    from pilotage.sleep.state import Action
    from pilotage.sleep.units import Source, UnitKey

__all__ = ["Followed", "Registry"]

_SHORTEST_ID: Final = 4
"""Characters of a container's ID that may be enough to find it."""


class Followed(NamedTuple):
    """What a change of a route means.

    Attributes:
        unit: the unit of the route; ``None`` if its containers do not sleep.
        action: what to begin.
        is_changed: whether the unit must be published.
        left: the unit that the route belonged to before and does no longer.
        again: aliases of routes to follow again, because this one has begun or ceased to use them for forwardauth.

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
        refused: alias -> why its containers do not sleep although labels ask for it.

    Args:
        source: routes and containers.
        may_act: returns whether containers of an engine may be started and stopped.
        next_epoch: returns a number that no running Envoy may have seen.

    """

    def __init__(self, source: Source, may_act: Callable[[str], bool], next_epoch: Callable[[], int]) -> None:
        self.units: dict[UnitKey, Unit] = {}
        self.refused: dict[str, Problem] = {}
        self._source = source
        self._may_act = may_act
        self._next_epoch = next_epoch
        self._of_alias: dict[str, Unit] = {}
        self._auth: dict[str, str] = {}  # alias -> the route that it uses for forwardauth
        self._auth_users: dict[str, set[str]] = {}

    def unit(self, alias: str) -> Unit | None:
        """Return the unit of a route; ``None`` if its containers do not sleep."""
        return self._of_alias.get(alias)

    def find(self, name: str) -> Unit | None:
        """Return the unit of a container, given by ID, the beginning of its ID, its name or an alias."""
        found = self._of_alias.get(name)
        if found is not None:
            return found
        long_enough = len(name) >= _SHORTEST_ID
        units = self.units.values()
        matches = [it for it in units if it.name == name or (long_enough and it.container_id.startswith(name))]
        return matches[0] if len(matches) == 1 else None

    def follow(self, alias: str, now: float) -> Followed:
        """Take over the current state of a route.

        Args:
            alias: the route.
            now: the time of the monotonic clock.

        """
        route = self._source.table.routes.get(alias)
        again = self._follow_auth(alias, route)
        key, unit = unit_key(route), self._of_alias.get(alias)
        self.refused.pop(alias, None)
        if route is None or key is None or self._refuses(route):
            return Followed(left=self._leave(alias, unit), again=again)
        left = self._leave(alias, unit) if unit is not None and unit.key != key else None
        container = self._source.container(route.provider, route.container_id)
        config = container.idlewatcher_config if container is not None else None
        if container is None or config is None:
            return Followed(left=left, again=again)
        unit = self._of_alias.get(alias)
        is_new = unit is None
        if unit is None:
            unit = self._joined(key, alias) or self._new_unit(
                key, container, config, running=bool(route.endpoints), now=now
            )
            self.units[key] = self._of_alias[alias] = unit
            unit.aliases.add(alias)
        unit.container_id, unit.name, unit.config = container.container_id, container.container_name, config
        unit.state.idle_timeout = config.idle_timeout
        running = bool(route.endpoints)
        if not running and unit.state.phase in (Phase.READY, Phase.QUIESCING):  # perhaps at another alias
            running = bool(running_endpoints(unit, self._source.table))
        before = unit.state.epoch
        action = unit.state.observe(running=running, now=now)
        if unit.state.epoch != before:
            unit.busy = (*unit.busy, before)
        is_changed = action is not None or is_new or unit.state.phase is not unit.shown
        return Followed(unit, action, is_changed, left, again)

    def _follow_auth(self, alias: str, route: Route | None) -> tuple[str, ...]:
        auth = route_policy(route.settings.middlewares).auth if route is not None and not route.excluded else None
        needed = auth.route if auth is not None else ""
        before = self._auth.get(alias, "")
        if before == needed:
            return ()
        if before:
            del self._auth[alias]
            self._auth_users[before].discard(alias)
            if not self._auth_users[before]:
                del self._auth_users[before]
        if needed:
            self._auth[alias] = needed
            self._auth_users.setdefault(needed, set()).add(alias)
        return tuple(name for name in (before, needed) if name)

    def _leave(self, alias: str, unit: Unit | None) -> Unit | None:
        if unit is None:
            return None
        del self._of_alias[alias]
        unit.aliases.discard(alias)
        unit.left.add(alias)
        if not unit.aliases:
            del self.units[unit.key]
        return unit

    def _refuses(self, route: Route) -> bool:
        """Report a route whose containers cannot sleep, so that they are left alone."""
        message = hint = ""
        if not self._may_act(route.provider):
            message = "its containers do not sleep, because pilotage may not start and stop containers of this engine"
            hint = f"set idle: true for the engine {route.provider}"
        elif route.pool:
            message = f"containers in the pool {route.pool!r} do not sleep"
            hint = "remove load_balance.link; replicas of one service share its requests and sleep without it"
        elif users := self._auth_users.get(route.alias):
            message = f"its containers do not sleep, because the route {min(users)!r} uses it for forwardauth"
            hint = "remove proxy.idle_timeout"
        elif route.scheme == "udp":
            message, hint = "a datagram cannot wake a container, so it does not sleep", "remove proxy.idle_timeout"
        if message:
            self.refused[route.alias] = Problem(
                message=message,
                hint=hint,
                severity="warning",
                provider=route.provider,
                container=route.container,
                label="proxy.idle_timeout",
            )
        return bool(message)

    def _joined(self, key: UnitKey, alias: str) -> Unit | None:
        """Return the unit that another alias joins; in a new epoch if the alias has been part of it before."""
        unit = self.units.get(key)
        if unit is not None and alias in unit.left:
            unit.left.discard(alias)
            before = unit.state.epoch
            unit.state.renew()
            unit.take_over(before)
        return unit

    def _new_unit(self, key: UnitKey, container: Container, config: IdleConfig, *, running: bool, now: float) -> Unit:
        state = SleepState(config.idle_timeout, running=running, now=now, next_epoch=self._next_epoch)
        return Unit(key, container.provider, container.container_id, container.container_name, config, state, set())
