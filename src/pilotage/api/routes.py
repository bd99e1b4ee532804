"""Lists routes for ``/v1/routes`` and for the dashboard: filters them, and returns them a page at a time. Pure.

To list routes, call :meth:`RouteIndex.page` with a :class:`RouteSource` and a :class:`RouteFilter`. It returns the
names of the routes on the page and the number of routes in each state. :meth:`RouteSource.entry` then describes one
route::

    page = index.page(source, RouteFilter(states=frozenset({"failing"}), text="shop", limit=50))
    entries = [source.entry(alias) for alias in page.aliases]
    following = index.page(source, RouteFilter(..., after=page.next))

The index caches an entry for each route, so a page costs a few milliseconds with 10,000 routes. Only the routes on the
page are converted to JSON.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from pilotage.output.status import RouteStatus, StatusState, describe_route
from pilotage.output.urls import url_of
from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.homepage import HomepageJson, homepage_json
from pilotage.routes.json import RouteJson, route_fields, route_properties
from pilotage.routes.support import refused_settings
from pilotage.table.self_signed import SelfSigned  # noqa: TC001  # msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pilotage.core.problems import Problem
    from pilotage.output.urls import GatewayPorts
    from pilotage.routes.route import EndpointHealth, Route
    from pilotage.table.envoys import RouteState
    from pilotage.table.table import Table
    from pilotage.table.wakefulness import Wakefulness

__all__ = ["EnvoysState", "RouteEntry", "RouteFilter", "RouteIndex", "RoutePage", "RouteSource", "words_of"]

EnvoysState = Literal["accepted", "waiting", "rejected"]


class RouteEntry(RouteJson, frozen=True, kw_only=True):
    """A route as ``/v1/routes`` lists it. Its other properties are the fields that labels set.

    Names of durations end in _s (seconds).

    Attributes:
        state: the state in one word; see :data:`~pilotage.output.status.StatusState`.
        status: the state in a few words or, if the route is not served, the reason.
        url: the route's URL; null if the route is not served, or if the daemon runs no gateway.
        envoy_state: the worst state of the route on any connected Envoy; null if the route is excluded, or if no Envoy
            is connected.
        stale_since: Unix time in seconds when the route's engine became unreachable; null if the engine is reachable.
        self_signed: the route's host names that still have only a self-signed certificate; null if there are none.
        homepage: how a dashboard shows the route, including default values.
        fields: the fields that labels set, by name. In JSON, they are properties of the route itself.

    """

    state: StatusState
    status: str
    url: str | None
    envoy_state: EnvoysState | None
    stale_since: float | None
    self_signed: SelfSigned | None
    homepage: HomepageJson
    fields: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the route as plain data for JSON."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        fields = found.pop("fields")
        written = fields.get("homepage")
        if isinstance(written, dict):
            found["homepage"] = written | found["homepage"]
        return found | {name: value for name, value in fields.items() if name not in found}


class RouteFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects routes. An empty attribute does not restrict the result.

    Attributes:
        states: only routes in one of these states.
        engine: only routes of this engine, or from this file.
        container: only routes with an endpoint of this container, given by its name.
        problem: only routes with problems (``True``) or without problems (``False``).
        text: only routes that contain all of these words in their name, target, container, engine, pool, state or
            homepage.
        limit: at most this many routes; 0 for all.
        after: only routes after this name in alphabetical order.

    """

    states: frozenset[str] = frozenset()
    engine: str = ""
    container: str = ""
    problem: bool | None = None
    text: str = ""
    limit: int = 0
    after: str = ""


class RoutePage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the routes that match a filter.

    Attributes:
        version: version of the table.
        aliases: names of the routes on this page, sorted.
        next: pass this as :attr:`RouteFilter.after` for the following page; ``None`` if this is the last page.
        total: number of all routes.
        matching: number of routes that match the filter, on all pages.
        counts: state -> number of routes that match the filter, ignoring its ``states``. States without routes are
            left out.

    """

    version: int
    aliases: tuple[str, ...]
    next: str | None
    total: int
    matching: int
    counts: dict[str, int]


class RouteSource:
    """The routes at one moment, and the data for their status. Make a new one for each request.

    Args:
        table: the table.
        problems: all problems, including those that are not in the table.
        gateway: the gateway's addresses and domains; ``None`` if there is no gateway.
        states: returns node ID -> state of a route, for each connected Envoy.

    Attributes:
        table: the table.
        problems: all problems.
        refused: alias -> the settings for which the gateway does not serve the route.
        away: names of the engines that are unreachable.

    """

    def __init__(
        self,
        table: Table,
        problems: Iterable[Problem],
        gateway: GatewayPorts | None,
        states: Callable[[str], Mapping[str, RouteState]],
    ) -> None:
        self.table = table
        self.problems = tuple(problems)
        self.refused = refused_settings(self.problems)
        self.away = {name for name, status in table.engines.items() if status.state == "stale"}
        self._gateway = gateway
        self._states = states
        self._troubled = {problem.route for problem in self.problems} - {""}
        self._troubled_containers = {
            (it.provider, it.container) for it in self.problems if it.container and not it.route
        }
        self._fields: dict[tuple[int, tuple[str, ...]], dict[str, Any]] = {}

    def status(self, route: Route) -> RouteStatus:
        """Return the status of a route."""
        found = describe_route(
            route,
            self.table.health_of(route.alias),
            self.table.wakefulness.get(route.alias),
            refused=self.refused.get(route.alias),
            stale_since=self.table.stale_since(route),
        )
        if not found.is_error or found.state not in ("excluded", "refused"):
            return found
        return msgspec.structs.replace(found, text=self._reason(route, found))

    def _reason(self, route: Route, status: RouteStatus) -> str:
        """Return why a route with errors is not served, because the status may be shown without the problems."""
        errors = [problem for problem in route.problems if problem.severity == "error"]
        errors += [problem for problem in self.problems if problem.route == route.alias and problem.refused]
        if route.excluded_reason != ExclusionReason.ERROR and status.state == "excluded":
            return status.text
        return f"not served: {errors[0].message}" if errors else status.text

    def has_problem(self, route: Route) -> bool:
        """Return whether there is a problem with a route, or with its container as a whole."""
        return (
            bool(route.problems)
            or route.alias in self._troubled
            or (route.provider, route.container) in self._troubled_containers
        )

    def entry(self, alias: str) -> RouteEntry:
        """Return a route as ``/v1/routes`` lists it.

        Raises:
            KeyError: there is no such route.

        """
        route = self.table.routes[alias]
        refused, status = self.refused.get(alias), self.status(route)
        is_served = not route.excluded and refused is None
        return RouteEntry(
            **route_properties(route, self.table.health_of(alias), refused),
            state=status.state,
            status=status.text,
            url=url_of(route, self._gateway) if is_served and self._gateway is not None else None,
            envoy_state=None if route.excluded else _worst(self._states(alias)),
            stale_since=self.table.stale_since(route),
            self_signed=self.table.self_signed.get(alias),
            homepage=homepage_json(route),
            fields=route_fields(route, self._fields),
        )


def _worst(states: Mapping[str, RouteState]) -> EnvoysState | None:
    found = {state.state for state in states.values()}
    order: tuple[EnvoysState, ...] = ("rejected", "waiting", "accepted")
    return next((state for state in order if state in found), None)


class _Known:
    """The index entry of one route: the data that it was derived from, the route's status, and its words."""

    __slots__ = ("_words", "health", "route", "status", "wakefulness")

    def __init__(
        self, route: Route, health: Mapping[str, EndpointHealth] | None, wakefulness: Wakefulness | None
    ) -> None:
        self.route, self.health, self.wakefulness = route, health, wakefulness
        self.status = describe_route(route, health or {}, wakefulness)
        self._words = ""

    @property
    def words(self) -> str:
        """The texts that are searched for words, apart from the status."""
        if not self._words:
            route, shown = self.route, homepage_json(self.route)
            texts = [route.alias, route.pool, route.target or "", route.provider, route.container]
            texts += [endpoint.container for endpoint in route.endpoints]
            self._words = "\n".join([*texts, shown.name, shown.category, shown.description]).casefold()
        return self._words


class RouteIndex:
    """Finds routes. Keep one for the lifetime of the table, because it caches an entry for each route.

    A change of the table costs nothing until the next call, which updates only the routes that have changed.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._sorted: list[_Known] = []
        self._seen: tuple[object, object, object] | None = None

    def page(self, source: RouteSource, wanted: RouteFilter = RouteFilter()) -> RoutePage:  # noqa: B008  # immutable
        """Return the routes that match a filter."""
        self._refresh(source.table)
        counts: Counter[str] = Counter()
        found: list[str] = []
        for known, state in self._matching(source, wanted):
            counts[state] += 1
            if not wanted.states or state in wanted.states:
                found.append(known.route.alias)
        start = bisect_right(found, wanted.after) if wanted.after else 0
        end = start + wanted.limit if wanted.limit else len(found)
        aliases = tuple(found[start:end])
        return RoutePage(
            version=source.table.version,
            aliases=aliases,
            next=aliases[-1] if aliases and end < len(found) else None,
            total=len(self._sorted),
            matching=len(found),
            counts=dict(sorted(counts.items())),
        )

    def _matching(self, source: RouteSource, wanted: RouteFilter) -> Iterator[tuple[_Known, StatusState]]:
        """Yield the routes that match a filter apart from its states, sorted, each with its state."""
        words, is_limited = words_of(wanted.text), bool(wanted.engine or wanted.container)
        refused, away = source.refused, source.away
        for known in self._sorted:
            route, status = known.route, known.status
            if is_limited and not _is_of(route, wanted):
                continue
            if wanted.problem is not None and wanted.problem != source.has_problem(route):
                continue
            if status.is_error or route.alias in refused or route.provider in away:
                status = source.status(route)
            if words and not all(word in known.words or word in status.text.casefold() for word in words):
                continue
            yield known, status.state

    def _refresh(self, table: Table) -> None:
        """Update the entries of the routes that have changed since the last call."""
        seen = (table.routes, table.health, table.wakefulness)
        if self._seen is not None and all(one is other for one, other in zip(seen, self._seen, strict=True)):
            return
        known = self._known
        for alias, route in table.routes.items():
            health, wakefulness = table.health.get(alias), table.wakefulness.get(alias)
            found = known.get(alias)
            if (
                found is None
                or found.route is not route
                or found.health is not health
                or found.wakefulness is not wakefulness
            ):
                known[alias] = _Known(route, health, wakefulness)
        if len(known) > len(table.routes):
            self._known = {alias: it for alias, it in known.items() if alias in table.routes}
        self._sorted = [self._known[alias] for alias in sorted(self._known)]
        self._seen = seen


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a search in lower case, each once, because searching takes time for each."""
    return tuple(dict.fromkeys(text.casefold().split()))


def _is_of(route: Route, wanted: RouteFilter) -> bool:
    """Return whether a route belongs to the engine and the container of a filter."""
    if wanted.engine not in ("", route.provider):
        return False
    return wanted.container in ("", route.container) or any(
        endpoint.container == wanted.container for endpoint in route.endpoints
    )
