"""Reserves the names that an engine's containers held before a restart until that engine has been listed. Pure.

Otherwise, if an engine is unreachable when the daemon starts, containers on other engines would take its containers'
names and keep them. Rules: decision 31.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.routes.build import Built
from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.hosts import first_label

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from pilotage.routes.route import Route
    from pilotage.table.names import Owner

__all__ = ["HeldName", "ReservedNames"]


class HeldName(msgspec.Struct, frozen=True):
    """The holder of a name when the daemon last ran.

    Attributes:
        engine: name of the engine.
        container: name of the container.
        agent: address of the agent in front of the engine; ``""`` without an agent. Needed because agents name their
            engines themselves, so another agent could choose the same name.

    """

    engine: str
    container: str
    agent: str = ""


class ReservedNames:
    """The names that containers held before the restart, and the routes that wait for these names.

    Args:
        held: alias, or name of a pool -> the container that held the name.
        engines: names of the watched engines; for an agent whose name is not known yet, its address. Names that
            containers on other engines held are not reserved.

    """

    def __init__(self, held: Mapping[str, HeldName], engines: Iterable[str]) -> None:
        watched = set(engines)
        by_address = {
            name: _at(holder, holder.agent) if holder.agent in watched else holder for name, holder in held.items()
        }
        self._held = {name: holder for name, holder in by_address.items() if holder.engine in watched}
        self._missing = {holder.engine for holder in self._held.values()}
        self._below: dict[str, list[str]] = {}  # first label -> full names that begin with it
        for name in self._held:
            if label := first_label(name):
                self._below.setdefault(label, []).append(name)
        self._waiting: dict[Owner, tuple[Built, str]] = {}

    @property
    def held(self) -> dict[str, HeldName]:
        """The names that are still reserved for engines."""
        return {name: holder for name, holder in self._held.items() if holder.engine in self._missing}

    def filter(self, owner: Owner, built: Built | None, cause: str, domains: Collection[str]) -> Built | None:
        """Return the routes of an owner. Routes whose names are reserved for another engine are excluded.

        Args:
            owner: the container or file route.
            built: the owner's routes; ``None`` if the owner no longer exists.
            cause: the event that led to the change.
            domains: domains under which aliases are served; empty for any.

        """
        self._waiting.pop(owner, None)
        if built is None or not self._missing:
            return built
        routes, problems = [], list(built.problems)
        for route in built.routes:
            kept = None if route.is_static or route.excluded else self._kept_from(route, domains)
            routes.append(route if kept is None else _taken(route))
            if kept is not None:
                problems.append(_problem(route, *kept))
        if len(problems) == len(built.problems):
            return built
        self._waiting[owner] = built, cause
        return Built(tuple(routes), tuple(problems))

    def rename(self, old: str, new: str) -> None:
        """Reserve an engine's names under the engine's new name."""
        if old in self._missing:
            self._missing = self._missing - {old} | {new}
            self._held = {
                name: _at(holder, new) if holder.engine == old else holder for name, holder in self._held.items()
            }

    def release(self, engine: str) -> dict[Owner, tuple[Built, str]]:
        """Free the names of a listed or removed engine; return all waiting owners, to be filtered again."""
        if engine not in self._missing:
            return {}
        self._missing.discard(engine)
        waiting, self._waiting = self._waiting, {}
        return waiting

    def _kept_from(self, route: Route, domains: Collection[str]) -> tuple[str, HeldName] | None:
        for name in self._claimed(route, domains):
            holder = self._held.get(name)
            if holder is not None and holder.engine in self._missing and holder.engine != route.provider:
                return name, holder
        return None

    def _claimed(self, route: Route, domains: Collection[str]) -> Iterator[str]:
        """Yield the names that a route takes, except an alias or pool that its own engine held before."""
        for name in filter(None, (route.alias, route.pool_name)):
            own = self._held.get(name)
            if own is not None and own.engine == route.provider:
                continue
            yield name
            label = first_label(name)
            if label and (not domains or name[len(label) + 1 :] in domains):
                yield label
            for full in self._below.get(name, ()):
                if not domains or full[len(name) + 1 :] in domains:
                    yield full


def _at(holder: HeldName, engine: str) -> HeldName:
    return msgspec.structs.replace(holder, engine=engine)


def _taken(route: Route) -> Route:
    return msgspec.structs.replace(
        route, excluded=True, excluded_reason=ExclusionReason.TAKEN, endpoints=(), health_check=False
    )


def _problem(route: Route, name: str, holder: HeldName) -> Problem:
    held_by = f"{shorten(holder.engine)}/{shorten(holder.container)}"
    return Problem(
        message=f"{shorten(name)!r} belonged to {held_by} when pilotage last ran, and pilotage "
        "has not been able to list that engine's containers since",
        hint="this route waits until it can; if the engine no longer exists, remove it from the configuration",
        provider=route.provider,
        container=route.container,
        route=route.alias,
    )
